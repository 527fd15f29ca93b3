"""Enqueueing ordered jobs from Python: one by one, in streams, in the caller's transaction, with unique keys."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from scene import Conn, ask

import fastq
from fastq.errors import UsageError

pytestmark = pytest.mark.protocol


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[fastq.App]:
    """Give an open app."""
    async with fastq.App(dsn) as opened:
        yield opened


def task(app: fastq.App) -> fastq.Task[[int], object]:
    """Register an ordered task."""

    @app.task(name="step", ordered=True, on_dead="block")
    async def step(n: int) -> None: ...

    return step


async def line(conn: Conn, group: str = "g") -> list[tuple[int, str]]:
    """Return a group's jobs, those that wait and their head, in the order of their ids."""
    query = "select id, state from fastq.job where group_key = %s order by id"
    return [(job, state) for job, state in await ask(conn, query, group)]


async def test_one_by_one(app: fastq.App, conn: Conn) -> None:
    """The first is ready, the second waits; both know what becomes of their line."""
    step = task(app).options(group_key="g")
    first, second = await step.enqueue(n=1), await step.enqueue(n=2)
    assert not first.duplicate
    assert await line(conn) == [(first.id, "ready"), (second.id, "waiting")]
    assert await ask(conn, "select distinct fastq.ordered_of(meta) from fastq.job") == [("block",)]


async def test_synchronously(dsn: str, conn: Conn) -> None:
    """The same from synchronous code."""
    app = fastq.App(dsn)
    step = task(app).options(group_key="g")
    with app:
        jobs = [step.enqueue_sync(n=1).id, *app.enqueue_many_sync(step.job(n=n) for n in range(3))]
    assert await line(conn) == list(zip(jobs, ["ready", "waiting", "waiting", "waiting"], strict=True))


async def test_a_stream(app: fastq.App, conn: Conn) -> None:
    """The order of the list is the order of the line, over chunks and between other jobs."""
    step = task(app)

    @app.task(name="other")
    async def other() -> None: ...

    def specs() -> list[fastq.JobSpec]:
        lines = [step.options(group_key=f"g{n % 2}").job(n=n) for n in range(3000)]
        return [spec for ordered in lines for spec in (ordered, other.options(group_key="g0").job())]

    ids = list(await app.enqueue_many(specs()))
    assert len(set(ids)) == 6000
    for group in (0, 1):
        query = (
            "select id, state, (payload ->> 'n')::int from fastq.job where group_key = %s and task = 'step' order by id"
        )
        rows = await ask(conn, query, f"g{group}")
        assert [row[2] for row in rows] == list(range(group, 3000, 2))
        assert [row[1] for row in rows] == ["ready"] + ["waiting"] * 1499
        assert [row[0] for row in rows] == ids[2 * group :: 4]


async def test_in_a_transaction(app: fastq.App, conn: Conn, dsn: str) -> None:
    """Rolled back with the caller's, and visible with it."""
    step = task(app).options(group_key="g")
    async with await psycopg.AsyncConnection.connect(dsn) as mine:
        await app.enqueue(step.job(n=1), conn=mine)
        await app.enqueue_many([step.job(n=2), step.job(n=3)], conn=mine)
        assert await line(conn) == []
        await mine.rollback()
        kept = await app.enqueue(step.job(n=4), conn=mine)
        await mine.commit()
    assert await line(conn) == [(kept.id, "ready")]
    assert await ask(conn, "select job from fastq.head") == [(kept.id,)]


async def test_with_unique_keys(app: fastq.App, conn: Conn) -> None:
    """A duplicate joins no line, alone or in a stream."""
    step = task(app).options(group_key="g", unique_key="k")
    first, second = await step.enqueue(n=1), await step.enqueue(n=2)
    assert (second.id, second.duplicate) == (first.id, True)
    ids = await app.enqueue_many([step.job(n=3), step.options(unique_key="l").job(n=4)])
    assert ids[0] == first.id
    assert await line(conn) == [(first.id, "ready"), (ids[1], "waiting")]


async def test_later(app: fastq.App, conn: Conn) -> None:
    """A delayed head is scheduled, and those behind it wait for its time."""
    step = task(app).options(group_key="g")
    first, second = await step.options(delay=60).enqueue(n=1), await step.enqueue(n=2)
    assert await line(conn) == [(first.id, "scheduled"), (second.id, "waiting")]


async def test_in_two_phases(app: fastq.App, conn: Conn) -> None:
    """A reservation holds its place in the line until it is committed or given up."""
    step = task(app).options(group_key="g")
    held = await step.reserve(expires=60, n=1)
    lost = await step.reserve(expires=60, n=2)
    last = await step.enqueue(n=3)
    assert await line(conn) == [(held.id, "reserved"), (lost.id, "reserved"), (last.id, "waiting")]
    await app.commit(held)
    await app.abandon(lost.id)
    assert await line(conn) == [(held.id, "ready"), (last.id, "waiting")]


async def test_without_a_group(app: fastq.App, conn: Conn) -> None:
    """The jobs of a queue without a group are one line."""
    step = task(app)
    first, second = await step.enqueue(n=1), await step.enqueue(n=2)
    assert await line(conn, "") == [(first.id, "ready"), (second.id, "waiting")]


def test_what_cannot_be() -> None:
    """Words that mean nothing are refused in one sentence."""
    app = fastq.App("")
    with pytest.raises(UsageError, match="on_dead must be"):
        app.task(ordered=True, on_dead="wait")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="needs ordered=True"):
        app.task(on_dead="block")
