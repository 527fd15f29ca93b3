"""Small enqueues: one statement for up to 1024 jobs, in whatever transaction the caller has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import RowFactory, args_row, class_row, dict_row, namedtuple_row, scalar_row
from scene import Conn, ask, hire, ids_of, jobs_of, states, take

from fastq.errors import ArgumentError, PayloadTooLarge
from fastq.job import JobSpec, Options
from fastq.protocol import enqueue
from fastq.protocol.asking import carry_out, carry_out_sync
from fastq.protocol.enqueue import Line

pytestmark = pytest.mark.protocol

LIMIT = 10_000
NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


def line(n: int = 0, **options: Any) -> Line:
    """Return the line of a job whose argument tells it apart."""
    return Line(JobSpec("t", {"n": n}, Options(**options)), LIMIT)


async def test_the_order_of_ids_is_the_order_of_lines(conn: Conn) -> None:
    """A full block of jobs gets ids in its order, and runs in it."""
    ids = await carry_out(conn, enqueue.insert_lines([line(n) for n in range(enqueue.LINES_MOST)]))
    assert ids == sorted(set(ids))
    rows = jobs_of(await take(conn, await hire(conn), limit=2000))
    assert [(row[0], row[4]["n"]) for row in rows] == list(zip(ids, range(1024), strict=True))


async def test_two_enqueues_never_overlap(conn: Conn, other: Conn) -> None:
    """Each call has a block of positions of its own, also when both are in open transactions."""
    async with conn.transaction(), other.transaction():
        first = await carry_out(conn, enqueue.insert_lines([line(n) for n in range(700)]))
        second = await carry_out(other, enqueue.insert_lines([line(n) for n in range(700)]))
        first += await carry_out(conn, enqueue.insert_lines([line(n) for n in range(700)]))
    assert len({*first, *second}) == 2100


async def test_one_line_too_many_is_refused(conn: Conn) -> None:
    """More lines than positions would overlap the next block."""
    with pytest.raises(AssertionError, match="1025 lines"):
        await carry_out(conn, enqueue.insert_lines([line()] * 1025))
    assert await states(conn) == {}


async def test_nothing_to_enqueue(conn: Conn) -> None:
    """No lines, no ids."""
    assert await carry_out(conn, enqueue.insert_lines([])) == []


async def test_ready_scheduled_and_rich_mixed(conn: Conn) -> None:
    """Each job lands where its options say, with all that they say, and the ids come in the order of the lines."""
    lines = [
        line(0),
        line(1, delay_s=60.5),
        line(2, queue="mail", priority=0, group_key="acme", headers={"h": 'ü"\\\n\t'}),
        line(3, run_at=NOON, queue="mail", priority=9, group_key="g\\", headers={"h": [1, None]}),
        line(4),
        line(5, delay_s=0.0),
    ]
    ((before,),) = await ask(conn, "select clock_timestamp()")
    ids = await carry_out(conn, enqueue.insert_lines(lines))
    delay = "run_at - interval '60.5 s' between %s and clock_timestamp()"
    assert await ask(conn, f"select {delay} from fastq.scheduled where run_at < %s", before, NOON) == [(True,)]
    assert len(set(ids)) == 6
    rows = await ask(
        conn, "select id, state, queue, priority, group_key, payload->>'n', meta->'headers', run_at from fastq.job"
    )
    found = {row[0]: row[1:] for row in rows}
    assert found[ids[1]][-1] is not None
    assert [found[job][:-1] for job in ids] == [
        ("ready", "default", 4, "", "0", None),
        ("scheduled", "default", 4, "", "1", None),
        ("ready", "mail", 0, "acme", "2", {"h": 'ü"\\\n\t'}),
        ("scheduled", "mail", 9, "g\\", "3", {"h": [1, None]}),
        ("ready", "default", 4, "", "4", None),
        ("ready", "default", 4, "", "5", None),
    ]
    assert found[ids[3]][-1] == NOON


async def test_a_time_that_has_passed_is_promoted_at_once(conn: Conn) -> None:
    """A run_at in the past waits for the next promotion only, with its order among the due."""
    (job,) = await carry_out(conn, enqueue.insert_lines([line(run_at=NOON - timedelta(days=9999))]))
    assert await states(conn) == {job: "scheduled"}
    assert await ask(conn, "select run_at < now() from fastq.scheduled") == [(True,)]


@pytest.mark.parametrize(
    "value",
    [
        "tab\t newline\n cr\r nul\0",
        "back\\slash \\n \\N \\. '",
        '"quotes" ]], %s %(shard)s',
        "\U0001f600 ü \u2028 \x7f",
    ],
    ids=range(4),
)
async def test_odd_values_arrive(conn: Conn, value: str) -> None:
    """What JSON can hold arrives as it was, in arguments, keys, headers and names of queues."""
    name = "".join(c for c in value if c.isprintable())
    spec = JobSpec("t" + name, {value: [value]}, Options(queue=name, group_key=name, headers={value: value}))
    await carry_out(conn, enqueue.insert_lines([Line(spec, LIMIT)]))
    await conn.execute("update fastq.ready set queue = 'default', group_key = '' where queue = %s", (name,))
    ((_, task, _, _, args, _, meta),) = jobs_of(await take(conn, await hire(conn)))
    assert (task, args, meta) == ("t" + name, {value: [value]}, {"headers": {value: value}})


# -- the caller's transaction


async def test_rolled_back_with_the_callers_transaction(conn: Conn, other: Conn) -> None:
    """Inside a transaction a job is invisible to others until the commit, and gone with a rollback."""
    async with conn.transaction(force_rollback=True):
        ids = await carry_out(conn, enqueue.insert_lines([line(), line(delay_s=1)]))
        assert set(await states(conn)) == set(ids)
        assert await states(other) == {}
    assert await states(other) == {}


async def test_a_refused_job_leaves_the_transaction_usable(conn: Conn) -> None:
    """ArgumentError and PayloadTooLarge come before the database hears anything."""
    async with conn.transaction():
        (first,) = await carry_out(conn, enqueue.insert_lines([line()]))
        with pytest.raises(PayloadTooLarge, match="limit is 10,000"):
            Line(JobSpec("t", {"a": "x" * LIMIT}, Options()), LIMIT)
        with pytest.raises(ArgumentError, match="cannot be written as JSON"):
            Line(JobSpec("t", {"a": object()}, Options()), LIMIT)
        (second,) = await carry_out(conn, enqueue.insert_lines([line()]))
    assert set(await states(conn)) == {first, second}


async def test_a_failed_statement_leaves_none_of_a_mixed_call(conn: Conn) -> None:
    """When the scheduled half cannot be written, the ready half is not there either."""
    bad = line(delay_s=1)
    bad.prefix = bad.prefix.replace("\t4\t", "\tsoon\t")
    with pytest.raises(psycopg.DataError):
        await carry_out(conn, enqueue.insert_lines([line(), bad]))
    assert await states(conn) == {}


@dataclass
class Row:
    """What a caller's class_row makes of rows."""

    base: int


FACTORIES = [
    dict_row,
    namedtuple_row,
    scalar_row,
    class_row(Row),
    args_row(list),
]


@pytest.mark.parametrize("factory", FACTORIES, ids=["dict", "namedtuple", "scalar", "class", "args"])
async def test_a_caller_with_any_row_factory(dsn: str, factory: RowFactory[Any]) -> None:
    """The caller's connection may make of rows what it likes."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=factory) as theirs:
        ids = await carry_out(theirs, enqueue.insert_lines([line(), line(delay_s=1)]))
    assert len(ids) == 2
    with psycopg.connect(dsn, autocommit=True, row_factory=factory) as sync:
        assert len(carry_out_sync(sync, enqueue.insert_lines([line(), line(delay_s=1)]))) == 2


async def test_a_caller_with_other_cursors(dsn: str) -> None:
    """The caller's cursors may want other placeholders than ours."""
    async with await psycopg.AsyncConnection.connect(dsn, cursor_factory=psycopg.AsyncRawCursor) as theirs:
        assert len(await carry_out(theirs, enqueue.insert_lines([line(), line(delay_s=1)]))) == 2
    with psycopg.connect(dsn, cursor_factory=psycopg.RawCursor) as sync:
        assert len(carry_out_sync(sync, enqueue.insert_lines([line(), line(delay_s=1)]))) == 2


def test_nan_is_refused() -> None:
    """A number that would have become null."""
    with pytest.raises(ArgumentError, match=r"an argument of 't' .* nan and infinity .*; nothing was enqueued"):
        Line(JobSpec("t", {"a": float("nan")}, Options()), LIMIT)
    assert Line(JobSpec("t", {"a": None}, Options()), LIMIT).body.endswith('{"a":null}')


@pytest.fixture
def plain(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection as psycopg makes it by default: not in autocommit mode."""
    with psycopg.connect(dsn) as opened:
        yield opened
        opened.rollback()


@pytest.mark.parametrize("mixed", [False, True])
async def test_a_connection_without_autocommit(dsn: str, conn: Conn, mixed: bool) -> None:
    """On psycopg's default connection, whose transaction begins with the enqueue, a rollback takes the jobs back."""
    async with await psycopg.AsyncConnection.connect(dsn) as theirs:
        ids = await carry_out(theirs, enqueue.insert_lines([line(), line(delay_s=1.0 if mixed else None)]))
        assert set(await states(theirs)) == set(ids)
        await theirs.rollback()
    assert await states(conn) == {}


@pytest.mark.parametrize("mixed", [False, True])
async def test_a_synchronous_connection_without_autocommit(
    plain: psycopg.Connection[Any], conn: Conn, mixed: bool
) -> None:
    """The same for the synchronous twin."""
    carry_out_sync(plain, enqueue.insert_lines([line(), line(delay_s=1.0 if mixed else None)]))
    plain.rollback()
    assert await states(conn) == {}


# -- the synchronous twin


def test_sync_mixed(db: psycopg.Connection[Any]) -> None:
    """The synchronous twin does the same."""
    lines = [line(0), line(1, delay_s=60), line(2, headers={"h": 1}), line(3)]
    ids = carry_out_sync(db, enqueue.insert_lines(lines))
    rows = db.execute("select id, state, payload->>'n' from fastq.job").fetchall()
    assert sorted(rows, key=lambda row: row[2]) == [
        (ids[0], "ready", "0"),
        (ids[1], "scheduled", "1"),
        (ids[2], "ready", "2"),
        (ids[3], "ready", "3"),
    ]
    assert len(set(ids)) == 4


def test_sync_in_the_callers_transaction(db: psycopg.Connection[Any]) -> None:
    """Rolled back with it, kept with it."""
    with db.transaction(force_rollback=True):
        carry_out_sync(db, enqueue.insert_lines([line()]))
    with db.transaction():
        ids = carry_out_sync(db, enqueue.insert_lines([line()]))
    assert db.execute("select id from fastq.job").fetchall() == [(ids[0],)]


async def test_a_cached_prefix_is_not_anothers(conn: Conn) -> None:
    """Thousands of options objects that live shortly, and whose addresses are used again, keep their own queues."""
    lines = [line(n, queue=f"q{n}") for n in range(1024)]
    ids = await carry_out(conn, enqueue.insert_lines(lines))
    assert await ask(conn, "select count(*) from fastq.job where queue <> 'q' || (payload->>'n')") == [(0,)]
    assert ids_of(await take(conn, await hire(conn))) == []
    assert len(ids) == 1024
