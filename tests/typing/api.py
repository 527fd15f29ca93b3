"""What a type checker must say of a user's code. Checked by mypy --strict and pyright, never run."""

from __future__ import annotations

from typing import assert_type

import fastq

app = fastq.App()


@app.task
async def plain(user_id: int, template: str = "hello") -> None:
    """Take a default."""


@app.task(queue="mail", retries=5, timeout=30)
async def with_options(user_id: int) -> None:
    """Have options."""


@app.task
async def with_context(ctx: fastq.Context, user_id: int) -> None:
    """Have the context first: it is taken away from the calls."""


@app.task
async def context_last(user_id: int, ctx: fastq.Context) -> None:
    """Have it elsewhere, where types cannot take it away."""


@app.task
def in_thread(path: str) -> dict[str, int]:
    """Return something."""
    return {path: 1}


@app.task(batch=500, batch_wait=1)
async def in_batches(jobs: list[fastq.BatchItem]) -> None:
    """Get many jobs at once."""
    for job in jobs:
        job.fail(ValueError(job.args["n"]))


@app.task(ordered=True, on_dead="block")
async def in_order(account: int) -> None:
    """Run one after the other."""


async def use() -> None:
    """Enqueue and call, rightly and wrongly."""
    assert_type(await plain.enqueue(user_id=7), fastq.JobRef)
    assert_type(plain.job(7, template="x"), fastq.JobSpec)
    assert_type(await with_context.enqueue(user_id=7), fastq.JobRef)
    assert_type(await plain.options(delay=60).enqueue(user_id=7), fastq.JobRef)
    assert_type(await plain.options(unique_key="u7", unique_until="started").enqueue(user_id=7), fastq.JobRef)
    assert_type(await plain.reserve(expires=60, user_id=7), fastq.JobRef)
    assert_type(await app.commit(await with_context.options(delay=60).reserve(user_id=7)), bool)
    await plain.reserve(60, user_id="seven")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert_type(await app.enqueue_many(plain.job(user_id=i) for i in range(3)), fastq.JobIds)
    assert_type(in_thread("x"), dict[str, int])
    assert_type(await in_batches.enqueue(n=1, anything="else"), fastq.JobRef)
    await plain.enqueue(user_id="seven")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await context_last.enqueue(user_id=7)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await plain.enqueue()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await with_options.enqueue(nobody=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
