"""Checkpoints in a transaction of the handler's own, and such as grant their job more retries."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from scene import Conn, ask, hire, put, take

import fastq
from fastq import testing
from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.protocol import completion, reap
from fastq.protocol.asking import carry_out
from fastq.protocol.completion import Place

pytestmark = pytest.mark.protocol

Seen = list[tuple[int, Any]]


@pytest.fixture
def seen() -> Seen:
    """Give the attempts that there were, and what each found saved."""
    return []


@pytest.fixture
def app(dsn: str, seen: Seen) -> fastq.App:
    """Give an app whose handlers go on from where they were."""
    app = fastq.App(dsn)

    @app.task(name="pages", retries=3, backoff=0)
    async def pages(commits: list[bool], ctx: fastq.Context) -> None:
        seen.append((ctx.attempt, ctx.saved))
        if ctx.attempt > len(commits):
            return
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await conn.execute("insert into page values (%s)", [ctx.attempt])
            await ctx.checkpoint({"page→": ctx.attempt}, conn=conn)
            await (conn.commit() if commits[ctx.attempt - 1] else conn.rollback())
        raise ValueError("the rest is for the next one")

    @app.task(name="pages_in_thread", retries=3, backoff=0)
    def pages_in_thread(ctx: fastq.Context) -> None:
        seen.append((ctx.attempt, ctx.saved))
        if ctx.attempt == 1:
            with psycopg.connect(dsn) as conn:
                ctx.checkpoint_sync("one", conn=conn)
            raise ValueError("the rest is for the next one")
        if ctx.attempt == 2:
            ctx.checkpoint_sync("two")
            raise ValueError("and for the one after that")

    @app.task(name="granted", retries=0, backoff=0)
    async def granted(ctx: fastq.Context) -> None:
        seen.append((ctx.attempt, ctx.saved))
        if ctx.attempt < 4:
            assert ctx.retries_left == 0
            await ctx.checkpoint(ctx.attempt, extra_retries=1)
            assert ctx.retries_left == 1
        raise ValueError("not yet")

    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("create table if not exists page (n int)")
        db.execute("truncate page")
    return app


@pytest.mark.parametrize(
    ("commits", "found"),
    [
        ([True], [None, {"page→": 1}]),
        ([False], [None, None]),
        ([True, False], [None, {"page→": 1}, {"page→": 1}]),
        ([False, True, True], [None, None, {"page→": 2}, {"page→": 3}]),
    ],
)
async def test_it_is_kept_with_the_transactions_commit(
    app: fastq.App, conn: Conn, seen: Seen, commits: list[bool], found: list[Any]
) -> None:
    """And if that is rolled back, there has never been one: what was written and where to go on always agree."""
    async with app:
        await app.tasks["pages"].enqueue(commits=commits)
        await testing.drain(app, retries=True, check=False)
    assert seen == list(enumerate(found, 1))
    assert await ask(conn, "select n from page order by n") == [(n,) for n, done in enumerate(commits, 1) if done]


async def test_synchronous_handlers_have_it_too(app: fastq.App, seen: Seen) -> None:
    """On a connection of theirs, and without."""
    async with app:
        await app.tasks["pages_in_thread"].enqueue()
        await testing.drain(app, retries=True, check=False)
    assert seen == [(1, None), (2, "one"), (3, "two")]


async def test_it_grants_retries(app: fastq.App, seen: Seen) -> None:
    """As long as the job gets on; then it fails for good."""
    async with app:
        job = await app.tasks["granted"].enqueue()
        await testing.drain(app, retries=True, check=False)
        found = await app.jobs.get(job.id)
    assert seen == [(1, None), (2, 1), (3, 2), (4, 3)]
    assert found is not None
    assert (found.state, found.attempt) == ("failed", 4)


async def test_granted_retries_outlast_the_worker(conn: Conn) -> None:
    """It dies after the checkpoint: whoever takes the job next finds both."""
    await put(conn, meta='{"headers":{"h":1}}')
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    assert await carry_out(conn, completion.save_checkpoint(Place(0, lease, 0), "7", retries=5))
    assert await carry_out(conn, completion.save_checkpoint(Place(0, lease, 0), "8"))
    await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, Died(ran=True, cause="SIGKILL")))
    ((meta,),) = await ask(conn, "select meta from fastq.ready")
    assert (meta["retries"], meta["checkpoint"], meta["headers"], meta["crashes"]) == (5, 8, {"h": 1}, 1)


async def test_retries_are_not_granted_on_a_connection_that_may_be_rolled_back(app: fastq.App, dsn: str) -> None:
    """With a sentence that says what to do."""
    refused = []

    @app.task(name="both", retries=0)
    async def both(ctx: fastq.Context) -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as own:
            try:
                await ctx.checkpoint(1, conn=own, extra_retries=1)
            except fastq.UsageError as exc:
                refused.append(str(exc))

    async with app:
        await both.enqueue()
        await testing.drain(app)
    assert refused == ["extra_retries would stay although conn is rolled back: grant them without conn"]


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, {"checkpoint": 1}),
        ("{}", {"checkpoint": 1}),
        (' { "a" : "}" } ', {"a": "}", "checkpoint": 1}),
        ('{"checkpoint": 0, "a": 1}', {"checkpoint": 1, "a": 1}),
    ],
)
async def test_a_meta_takes_a_checkpoint(conn: Conn, meta: str | None, expected: dict[str, Any]) -> None:
    """Whatever stands in it; the newer one counts."""
    assert await ask(conn, "select fastq.meta_with(%s::json, 'checkpoint', '1')", meta) == [(expected,)]
