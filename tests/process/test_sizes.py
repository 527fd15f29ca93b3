"""How large what handlers leave in the database may be: results and checkpoints."""

from __future__ import annotations

from typing import Any

import pytest
from probe import Db

import fastq
from fastq import testing

pytestmark = pytest.mark.process

app = fastq.App(result_limit_bytes=1000, checkpoint_limit_bytes=1000)


@app.task(keep=60, retries=3, backoff=0)
async def returns(size: int) -> str:
    """Return so many bytes of JSON."""
    return "x" * (size - 2)


@app.task(retries=0)
async def forgets(size: int) -> str:
    """Return something that nobody keeps."""
    return "x" * size


@app.task(retries=0)
async def saves(ctx: fastq.Context, size: int, depth: int) -> None:
    """Save a checkpoint of so many bytes, so many levels deep."""
    value: Any = "x" * (size - 2 * depth - 2)
    for _ in range(depth):
        value = [value]
    await ctx.checkpoint(value)


async def ended(db: Db, *specs: fastq.JobSpec) -> list[tuple[Any, ...]]:
    """Run jobs; return the state, the attempts and the last error of those that were kept."""
    async with app:
        await app.enqueue_many(specs)
        await testing.drain(app, check=False, retries=True)
    return db.execute(
        "select state, attempt, meta->'errors'->-1->>'type', meta->'errors'->-1->>'message' from fastq.job order by id"
    ).fetchall()


async def test_a_result_that_is_too_large_fails_its_job_for_good(db: Db) -> None:
    """It is not run again for that, and the error says what to do; at the limit it is kept."""
    kept, failed = await ended(db, returns.job(size=1000), returns.job(size=1001))
    assert kept[:3] == ("succeeded", 1, None)
    assert failed[:3] == ("failed", 1, "ResultTooLarge")
    assert failed[3].startswith("the result is 1,001 bytes of JSON; the limit is 1,000 (App(result_limit_bytes=…)).")


async def test_a_result_that_nobody_keeps_may_have_any_size(db: Db) -> None:
    """It is not even written as JSON."""
    assert await ended(db, forgets.job(size=5000)) == []


async def test_a_checkpoint_that_is_too_large_or_too_deep_is_refused_to_the_handler(db: Db) -> None:
    """The handler gets a sentence, and nothing is written; at the limits it is saved."""
    refused = await ended(
        db,
        saves.job(size=1000, depth=2),
        saves.job(size=1001, depth=2),
        saves.job(size=700, depth=245),
        saves.job(size=700, depth=253),
    )
    assert [row[2] for row in refused] == ["CheckpointTooLarge", "ArgumentError"]
    assert "1,001 bytes of JSON; the limit is 1,000 (App(checkpoint_limit_bytes=…))" in refused[0][3]
    assert "nested more than some 240 levels deep" in refused[1][3]


@pytest.mark.parametrize("limit", [0, True, 1.5, 2**40])
@pytest.mark.parametrize("name", ["result_limit_bytes", "checkpoint_limit_bytes"])
def test_limits_that_cannot_work_are_refused(name: str, limit: Any) -> None:
    """In one sentence, when the app is made."""
    with pytest.raises(fastq.UsageError, match=f"{name} must be 1 to 268,435,456 bytes, not"):
        fastq.App(**{name: limit})
