"""Large enqueues: a stream through COPY, all or none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import psycopg
import pytest
from psycopg.rows import args_row, dict_row, scalar_row
from scene import LANE, Conn, ask, hire, ids_of, jobs_of, put, states, take

from fastq.errors import ArgumentError, PayloadTooLarge
from fastq.job import JobSpec, Options
from fastq.job_ids import JobIds
from fastq.protocol import copying, enqueue
from fastq.protocol.asking import carry_out, carry_out_sync
from fastq.protocol.packing import FEW, Packer

pytestmark = pytest.mark.protocol

PLAIN = Options()
RICH = Options(queue="a\\b", group_key="g\\t", headers={"h": 'x\\\n"\t'}, priority=1)
LATER = Options(delay_s=3600.0, queue="back\\N")
NOON = Options(run_at=datetime(2030, 1, 2, 12, tzinfo=UTC))
ODD = 'tab\t newline\n nul\0 back\\slash \\N \\. "quote" \U0001f600 ü'


def text() -> Packer:
    """Return a writer with a small limit."""
    return Packer(shard=0, limit_bytes=10_000)


def specs(count: int, options: Options = PLAIN) -> Iterator[JobSpec]:
    """Yield jobs whose argument is their number."""
    return (JobSpec("t", {"n": n}, options) for n in range(count))


def mixed(count: int) -> Iterator[JobSpec]:
    """Yield jobs of all kinds in turn."""
    kinds = [PLAIN, RICH, LATER, NOON, PLAIN]
    return (JobSpec("t\\n", {"n": n, "s": ODD}, kinds[n % 5]) for n in range(count))


class Stop(Exception):
    """What a caller's generator raises."""


def broken(count: int) -> Iterator[JobSpec]:
    """Yield jobs and then fail."""
    yield from specs(count)
    raise Stop


WAYS = pytest.mark.parametrize("way", [copying.copy_jobs, copying.put_jobs])


@WAYS
@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, 1024, 1025, 7000])
async def test_ids_in_order_over_chunks(conn: Conn, count: int, way: Any) -> None:
    """Whatever the number, ids come in the order of the stream, and each names its job."""
    told: list[int] = []
    ids = await carry_out(conn, way(specs(count), text(), progress=told.append))
    assert told[-1:] == [count] * bool(count)
    assert len(ids) == count
    assert list(ids) == sorted(set(ids))
    rows = await ask(conn, "select id, (payload->>'n')::int from fastq.job order by id")
    assert rows == list(zip(ids, range(count), strict=True))


@pytest.mark.parametrize(
    ("way", "count"), [(copying.copy_jobs, 6000), (copying.put_jobs, 6000), (copying.put_jobs, 100)]
)
async def test_all_kinds_mixed_over_chunks(conn: Conn, way: Any, count: int) -> None:
    """Plain, rich and scheduled jobs of one stream keep ids, names, headers, times and arguments."""
    ids = await carry_out(conn, way(mixed(count), text()))
    rows = await ask(
        conn, "select id, state, queue, priority, group_key, task, payload::text, meta, run_at from fastq.job"
    )
    assert len(rows) == count
    found = {row[0]: row[1:] for row in rows}
    kinds = [
        ("ready", "default", 4, "", "t\\n"),
        ("ready", "a\\b", 1, "g\\t", "t\\n"),
        ("scheduled", "back\\N", 4, "", "t\\n"),
        ("scheduled", "default", 4, "", "t\\n"),
        ("ready", "default", 4, "", "t\\n"),
    ]
    body = enqueue.payload(JobSpec("t", {"s": ODD}, PLAIN), 1000).decode()[1:]
    for n, job in enumerate(ids):
        row = found[job]
        assert row[:5] == kinds[n % 5]
        assert row[5] == f'{{"n":{n},{body}'
        assert row[6] == ({"headers": RICH.headers} if n % 5 == 1 else None)
        assert row[7] == NOON.run_at if n % 5 == 3 else True
    ((low, high),) = await ask(
        conn, "select min(run_at) - now(), max(run_at) - now() from fastq.scheduled where queue = %s", "back\\N"
    )
    assert 3500 < low.total_seconds() <= high.total_seconds() <= 3600


async def test_lanes_in_turn_share_packets_all_the_same(conn: Conn) -> None:
    """A stream that takes turns among 300 groups is looked at in windows; ids, order and unique keys are as ever."""
    kinds = [Options(group_key=f"g{n}") for n in range(300)]
    apart = {5000, 11_000, 11_001}
    stream = [
        JobSpec("t", {"n": n}, Options(unique_key=f"k{n // 10}") if n in apart else kinds[n % 300])
        for n in range(20_000)
    ]
    ids = await carry_out(conn, copying.copy_jobs(iter(stream), text()))
    ((rows,),) = await ask(conn, "select count(*)::int from fastq.ready")
    assert rows < 20_000 / 8
    assert ids.duplicates == [11_001]
    found = await ask(conn, "select id, group_key, (payload->>'n')::int from fastq.job order by group_key, id")
    at = {n: job for n, job in enumerate(ids) if n != 11_001}
    assert {(job, stream[n].options.group_key, n) for n, job in at.items()} == set(found)
    for group in kinds:
        numbers = [n for _, key, n in found if key == group.group_key]
        assert numbers == sorted(numbers)


async def test_a_stream_that_is_of_one_kind_at_last_is_read_in_blocks_again(conn: Conn) -> None:
    """Wide windows end with the mix that they are for."""
    kinds = [Options(group_key=f"g{n}") for n in range(300)]
    packer = text()
    mix = (JobSpec("t", {"n": n}, kinds[n % 300]) for n in range(6000))
    await carry_out(conn, copying.copy_jobs(chain(mix, specs(90_000)), packer))
    assert packer._wide == 1
    assert await ask(conn, "select count(*)::int from fastq.job") == [(96_000,)]


async def test_copied_jobs_can_be_claimed(conn: Conn) -> None:
    """What COPY wrote decodes to what was given."""
    ids = await carry_out(conn, copying.copy_jobs(mixed(10), text()))
    rows = jobs_of(await take(conn, await hire(conn)))
    assert [(row[0], row[4]) for row in rows] == [(ids[n], {"n": n, "s": ODD}) for n in (0, 4, 5, 9)]


async def test_copied_and_inserted_jobs_stand_in_one_line(conn: Conn) -> None:
    """Positions of both ways never overlap, and the later call stands behind."""
    first = list(await carry_out(conn, copying.copy_jobs(specs(3000), text())))
    second = await put(conn, "{}", "{}")
    third = list(await carry_out(conn, copying.copy_jobs(specs(3), text())))
    assert first + second + third == sorted({*first, *second, *third})


async def test_the_head_segment_is_used(conn: Conn) -> None:
    """COPY goes straight into the head's table."""
    await conn.execute("update fastq.ring set head = 3")
    await carry_out(conn, copying.copy_jobs(chain(specs(3), specs(3, RICH)), text()))
    assert await ask(conn, "select segment, sum(coalesce(jobs, 1))::int from fastq.ready group by 1") == [(3, 6)]


async def test_progress_is_told(conn: Conn) -> None:
    """The number sent so far grows to the whole."""
    told: list[int] = []
    await carry_out(conn, copying.copy_jobs(specs(3000), text(), progress=told.append))
    assert told == [1000, 2000, 3000]


# -- all or none


@WAYS
@pytest.mark.parametrize("count", [0, 5, 1024, 5000])
async def test_an_iterable_that_raises_enqueues_nothing(conn: Conn, count: int, way: Any) -> None:
    """Its own exception comes out, at whatever place of the stream, and the connection stays good."""
    with pytest.raises(Stop):
        await carry_out(conn, way(broken(count), text()))
    assert await states(conn) == {}
    assert len(await carry_out(conn, way(specs(1), text()))) == 1


@pytest.mark.parametrize(("bad", "error"), [(object(), ArgumentError), ("x" * 10_000, PayloadTooLarge)])
@pytest.mark.parametrize("place", [0, 1500, 5000])
@WAYS
async def test_a_refused_job_enqueues_nothing(
    conn: Conn, bad: object, error: type[Exception], place: int, way: Any
) -> None:
    """One job that cannot be written takes the whole call back, and a caller's transaction goes on."""
    stream = chain(mixed(place), [JobSpec("t", {"a": bad}, PLAIN)], specs(10))
    async with conn.transaction():
        (before,) = await put(conn)
        with pytest.raises(error, match="nothing was enqueued"):
            await carry_out(conn, way(stream, text()))
        (after,) = await put(conn)
    assert set(await states(conn)) == {before, after}


async def test_rolled_back_with_the_callers_transaction(conn: Conn, other: Conn) -> None:
    """Nobody else ever sees the jobs of a transaction that is rolled back."""
    async with conn.transaction(force_rollback=True):
        ids = await carry_out(conn, copying.copy_jobs(mixed(2000), text()))
        assert set(await states(conn)) == set(ids)
        assert await states(other) == {}
    assert await states(other) == {}


@pytest.mark.parametrize("sync", [False, True])
async def test_a_connection_without_autocommit(dsn: str, conn: Conn, sync: bool) -> None:
    """On psycopg's default connection, whose transaction begins with the enqueue, a rollback takes the jobs back."""
    if sync:
        with psycopg.connect(dsn) as theirs:
            carry_out_sync(theirs, copying.copy_jobs(specs(3), text()))
            theirs.rollback()
    else:
        async with await psycopg.AsyncConnection.connect(dsn) as own:
            await carry_out(own, copying.copy_jobs(specs(3), text()))
            await own.rollback()
    assert await states(conn) == {}


async def test_refused_on_a_connection_without_autocommit(dsn: str, conn: Conn) -> None:
    """What is refused leaves the transaction that began with it usable, and uncommitted."""
    async with await psycopg.AsyncConnection.connect(dsn) as theirs:
        with pytest.raises(Stop):
            await carry_out(theirs, copying.copy_jobs(broken(2000), text()))
        await carry_out(theirs, copying.copy_jobs(specs(3), text()))
        assert len(await states(theirs)) == 3
        assert await states(conn) == {}
        await theirs.rollback()
    with psycopg.connect(dsn) as theirs_sync:
        with pytest.raises(Stop):
            carry_out_sync(theirs_sync, copying.copy_jobs(broken(2000), text()))
        carry_out_sync(theirs_sync, copying.copy_jobs(specs(3), text()))
        theirs_sync.rollback()
    assert await states(conn) == {}


@pytest.mark.parametrize("factory", [dict_row, scalar_row, args_row(list)])
async def test_a_caller_with_any_row_factory(dsn: str, factory: Any) -> None:
    """The caller's connection may make of rows what it likes."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=factory) as theirs:
        assert len(await carry_out(theirs, copying.copy_jobs(mixed(10), text()))) == 10
    with psycopg.connect(dsn, autocommit=True, row_factory=factory) as sync:
        assert len(carry_out_sync(sync, copying.copy_jobs(mixed(10), text()))) == 10


async def test_a_caller_with_other_cursors(dsn: str) -> None:
    """The caller's cursors may want other placeholders than ours."""
    async with await psycopg.AsyncConnection.connect(dsn, cursor_factory=psycopg.AsyncRawCursor) as theirs:
        assert len(await carry_out(theirs, copying.copy_jobs(mixed(10), text()))) == 10
    with psycopg.connect(dsn, cursor_factory=psycopg.RawCursor) as sync:
        assert len(carry_out_sync(sync, copying.copy_jobs(mixed(10), text()))) == 10


@pytest.mark.parametrize("options", [PLAIN, RICH, LATER])
async def test_nulls_arrive_and_nan_does_not(conn: Conn, options: Options) -> None:
    """None is null; a number that would have become null takes the whole call back."""
    given = [JobSpec("null", {"a": None, "b": "null", "c": [None, 1.5]}, options) for _ in range(3)]
    await carry_out(conn, copying.copy_jobs(given, text()))
    assert await ask(conn, "select payload from fastq.job") == [(given[0].args,)] * 3
    for bad in (float("nan"), [float("inf")]):
        with pytest.raises(ArgumentError, match="nan and infinity are no numbers there; nothing was enqueued"):
            await carry_out(conn, copying.copy_jobs([*given, JobSpec("t", {"a": bad}, options)], text()))
    assert len(await states(conn)) == 3


def test_a_short_stream_of_one_kind_is_one_statement() -> None:
    """It needs no transaction around it, which would cost two trips; one that waits for a time beside it does."""
    assert not copying.put_jobs(specs(10), text()).whole
    later = Options(delay_s=60.0)
    assert copying.put_jobs(chain(specs(10), specs(10, later)), text()).whole


# -- the synchronous twin


def test_sync_all_kinds(db: psycopg.Connection[Any]) -> None:
    """The synchronous twin writes the same, and tells its progress."""
    told: list[int] = []
    ids = carry_out_sync(db, copying.copy_jobs(mixed(3000), text(), progress=told.append))
    number = r"""select id, substring(payload::text from '"n":(\d+)')::int from fastq.job order by 2"""
    rows = db.execute(number).fetchall()
    assert rows == list(zip(ids, range(3000), strict=True))
    assert told == [1000, 2000, 3000]


def test_sync_all_or_none(db: psycopg.Connection[Any]) -> None:
    """An exception midway leaves nothing, and a caller's transaction usable."""
    with db.transaction():
        with pytest.raises(Stop):
            carry_out_sync(db, copying.copy_jobs(broken(3000), text()))
        db.execute("select 1")
    assert db.execute("select count(*) from fastq.job").fetchone() == (0,)


async def test_ids_are_ranges(conn: Conn) -> None:
    """The ids of a long stream are a range for each thousand, though others take positions meanwhile."""
    ids = await carry_out(conn, copying.copy_jobs(specs(6000), text()))
    assert isinstance(ids, JobIds)
    assert (ids[0], ids[-1]) == (min(ids), max(ids))
    assert len(ids._ranges) <= 6
    got = ids_of(await take(conn, await hire(conn), lane=LANE, limit=10))
    assert got == ids[:10]
