"""Moving claimed jobs out of their leases: to ready, scheduled or finished, each once, and as they were."""

from __future__ import annotations

import asyncio
import math

import pytest
from scene import LANE, Conn, ask, back, failed, hire, ids_of, jobs_of, later, put, states, take, until_blocked

from fastq.flow import Retry
from fastq.protocol import ack, completion, upkeep
from fastq.protocol.claim import Lane
from fastq.protocol.completion import Place
from fastq.protocol.settle import settle
from fastq.states import JobState

pytestmark = pytest.mark.protocol

PAYLOAD = '{"b" : 1, "a":\t"\\u0000 \\ud800", "n": 1.50, "n": 1e999}'
META = {"headers": {"h": 'x\0"\\\n'}, "errors": [{"type": "ü"}]}


# -- where to


async def test_everything_is_carried_along(conn: Conn) -> None:
    """Id, payload, task, queue, priority, group and time of enqueue arrive untouched; attempt and meta as settled."""
    lane = Lane(0, 2, "mail", 7, "acme")
    places = await put(conn, PAYLOAD, PAYLOAD, PAYLOAD, task='t"\\', lane=lane, attempt=1)
    enqueued = await ask(conn, "select enqueued_ms from fastq.ready order by pos")
    who = await hire(conn)
    lease = (await take(conn, who, lane=lane)).lease
    moved = await settle(
        conn,
        shard=0,
        worker=who,
        settlements=[
            back(lease, 0, attempt=1, meta=META),
            later(lease, 1, attempt=2, meta=META, delay_s=60.0),
            failed(lease, 2, attempt=2, meta=META, keep_s=3600.0),
        ],
    )
    assert moved == {(lease, 0), (lease, 1), (lease, 2)}
    for number, (table, attempt) in enumerate([("ready", 1), ("scheduled", 2), ("finished", 2)]):
        rows = await ask(
            conn,
            "select id, queue, priority, group_key, task, payload::text, attempt, enqueued_ms,"
            f" (meta::text) like '%%\\\\u0000%%' from fastq.{table}",
        )
        expected = (places[number], "mail", 7, "acme", 't"\\', PAYLOAD, attempt, enqueued[number][0], True)
        assert rows == [expected], table


async def test_times_are_the_databases(conn: Conn) -> None:
    """`delay_s` and `keep_s` count from the statement's own time; no `keep_s` keeps for ever."""
    await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    settlements = [later(lease, 0, delay_s=90.5), failed(lease, 1, keep_s=60.0), failed(lease, 2)]
    async with conn.transaction():
        ((before,),) = await ask(conn, "select clock_timestamp()")
        await settle(conn, shard=0, worker=who, settlements=settlements)
        counted = "run_at - interval '90.5 s' between %s and clock_timestamp()"
        delays = await ask(conn, f"select {counted}, reason from fastq.scheduled", before)
        kept = await ask(conn, "select extract(epoch from expires_at - now())::float8 from fastq.finished order by id")
    assert delays == [(True, "retrying")]
    assert kept == [(60.0,), (None,)]


async def test_back_in_line_is_behind_and_keeps_the_id(conn: Conn) -> None:
    """Jobs that go back stand behind those that came since, in the order of their batch, under their old ids."""
    places = await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    (newer,) = await put(conn)
    await settle(conn, shard=0, worker=who, settlements=[back(lease, ord_) for ord_ in (2, 0, 1)])
    got = await take(conn, who)
    assert ids_of(got) == [newer, *places]
    positions = [row[0] for row in jobs_of(got)]
    assert positions == sorted(positions)
    assert positions[1] > newer


async def test_the_id_stays_over_retry_promotion_and_claim(conn: Conn) -> None:
    """A job that is retried five times is the same job, each time further back in line, at the next attempt."""
    (place,) = await put(conn, '{"a":1}')
    who, low = await hire(conn), 0
    for attempt in range(5):
        got = await take(conn, who, low=low)
        assert [(ids_of(got)[0], row[2], row[4]) for row in jobs_of(got)] == [(place, attempt, {"a": 1})]
        assert got.hi > low
        low = got.hi
        await settle(conn, shard=0, worker=who, settlements=[later(got.lease, attempt=attempt + 1)])
        assert await ack.ack(conn, shard=0, worker=who, leases=[got.lease]) == {got.lease}
        assert await states(conn) == {place: "retrying"}
        assert (await upkeep.promote(conn, shard=0)).jobs == 1


async def test_what_goes_back_goes_to_the_head_segment(conn: Conn) -> None:
    """A job of a segment that is being emptied does not return to it."""
    await put(conn)
    await conn.execute("update fastq.ring set head = 2")
    who = await hire(conn)
    await settle(conn, shard=0, worker=who, settlements=[back((await take(conn, who)).lease)])
    assert await ask(conn, "select segment from fastq.ready") == [(2,)]


# -- the fence


async def test_settling_a_lease_that_is_gone_writes_nothing(conn: Conn) -> None:
    """Of a lost lease nothing moves, to nowhere."""
    await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await ack.ack(conn, shard=0, worker=who, leases=[lease])
    settlements = [back(lease, 0), later(lease, 1), failed(lease, 2)]
    assert await settle(conn, shard=0, worker=who, settlements=settlements) == set()
    assert await states(conn) == {}


async def test_settling_anothers_lease_writes_nothing(conn: Conn) -> None:
    """A job belongs to the worker that claimed it."""
    (place,) = await put(conn)
    mine, theirs = await hire(conn), await hire(conn)
    lease = (await take(conn, theirs)).lease
    assert await settle(conn, shard=0, worker=mine, settlements=[back(lease)]) == set()
    assert await states(conn) == {place: "running"}


async def test_settling_twice_moves_once(conn: Conn) -> None:
    """The second time the job is done already, wherever it went."""
    (place,) = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    assert await settle(conn, shard=0, worker=who, settlements=[back(lease)]) == {(lease, 0)}
    assert await settle(conn, shard=0, worker=who, settlements=[failed(lease)]) == set()
    assert await states(conn) == {place: "ready"}


async def test_settling_twice_in_one_statement_moves_once(conn: Conn) -> None:
    """A job that stands twice in a list is still one job."""
    (place,) = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await settle(conn, shard=0, worker=who, settlements=[back(lease), back(lease)])
    assert await states(conn) == {place: "ready"}


async def test_a_done_job_is_not_settled(conn: Conn) -> None:
    """In a mixed list the jobs that are done, unknown or lost are left out and the others move."""
    places = await put(conn, *["{}"] * 4)
    who = await hire(conn)
    first, second = await take(conn, who, limit=3), await take(conn, who)
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(first.lease, 1)])
    await ack.ack(conn, shard=0, worker=who, leases=[second.lease])
    settlements = [later(first.lease, 0), back(first.lease, 1), back(first.lease, 7), back(second.lease), back(999)]
    assert await settle(conn, shard=0, worker=who, settlements=settlements) == {(first.lease, 0)}
    assert await states(conn) == {places[0]: "retrying", places[2]: "running"}


async def test_settle_waits_for_an_ack_in_flight_and_respects_it(conn: Conn, other: Conn) -> None:
    """A settlement that waits for a partial ack of the same lease sees what that marked."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        await ack.ack_jobs(other, shard=0, worker=who, jobs=[(lease, 0)])
        settling = asyncio.create_task(settle(conn, shard=0, worker=who, settlements=[back(lease, 0), back(lease, 1)]))
        await until_blocked(other, conn)
    assert await settling == {(lease, 1)}
    assert await states(conn) == {places[1]: "ready"}
    assert await ask(conn, "select done from fastq.lease") == [([0, 1],)]


async def test_settle_that_waits_for_a_deletion_moves_nothing(conn: Conn, other: Conn) -> None:
    """A settlement that waits for the lease's deletion finds it gone."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        await ack.ack(other, shard=0, worker=who, leases=[lease])
        settling = asyncio.create_task(settle(conn, shard=0, worker=who, settlements=[back(lease)]))
        await until_blocked(other, conn)
    assert await settling == set()
    assert await states(conn) == {}


async def test_two_leases_settled_crosswise_do_not_deadlock(conn: Conn, other: Conn) -> None:
    """Leases are locked in the order of their ids, whatever the order in the list."""
    await put(conn, *["{}"] * 4)
    who = await hire(conn)
    first, second = await take(conn, who, limit=2), await take(conn, who)
    forth = [back(first.lease, 0), back(second.lease, 0)]
    moved = await asyncio.gather(
        settle(conn, shard=0, worker=who, settlements=forth),
        settle(other, shard=0, worker=who, settlements=[back(second.lease, 1), back(first.lease, 1)]),
    )
    assert [len(pairs) for pairs in moved] == [2, 2]
    assert set((await states(conn)).values()) == {"ready"}


# -- what must not stand in its way


async def test_a_neighbours_open_transaction_does_not_hold_up_settling(conn: Conn, other: Conn) -> None:
    """While a handler's transaction holds the lease, its neighbours are settled, as they are acknowledged."""
    await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await conn.execute("set lock_timeout = '300ms'")
    async with other.transaction():
        assert await completion.hold(other, Place(0, lease, 0))
        assert await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 0)]) == {lease}
        assert await settle(conn, shard=0, worker=who, settlements=[later(lease, 1)]) == {(lease, 1)}


@pytest.mark.parametrize(
    "delay_s",
    [
        pytest.param(-5.0, id="negative"),
        pytest.param(1e9, id="decades"),
        pytest.param(1e15, id="too far"),
        pytest.param(math.nan, id="nan"),
        pytest.param(math.inf, id="infinite"),
    ],
)
async def test_any_delay_that_a_handler_can_raise_can_be_written(conn: Conn, delay_s: float) -> None:
    """`Retry(delay=…)` with a number out of all bounds does not end the worker, and the job's turn comes one day."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    asked_s = Retry(delay=delay_s).delay_s
    assert asked_s is not None
    assert await settle(conn, shard=0, worker=who, settlements=[later(lease, delay_s=asked_s)])
    assert await ask(conn, "select isfinite(run_at) from fastq.scheduled") == [(True,)]


@pytest.mark.parametrize("move", ["settle", "promote"])
async def test_a_missing_ring_row_loses_no_job(conn: Conn, move: str) -> None:
    """The head is only a hint: without one, jobs go to some segment."""
    (place,) = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    if move == "promote":
        await settle(conn, shard=0, worker=who, settlements=[later(lease)])
    await conn.execute("delete from fastq.ring")
    if move == "promote":
        await upkeep.promote(conn, shard=0)
    else:
        await settle(conn, shard=0, worker=who, settlements=[back(lease)])
    assert place in await states(conn)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.DISCARDED, JobState.SUCCEEDED, JobState.CANCELLED])
async def test_every_final_state_can_be_kept(conn: Conn, state: JobState) -> None:
    """Each state that a settlement may name is one that the table takes."""
    (place,) = await put(conn, lane=LANE)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await settle(conn, shard=0, worker=who, settlements=[failed(lease, state=state)])
    assert await states(conn) == {place: state}


async def test_settling_is_durable_on_a_worker_s_connection(conn: Conn) -> None:
    """A worker does not wait for the disk, except for what it settles: that commit is flushed when it is answered."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await conn.execute("set synchronous_commit = off")
    async with conn.transaction():
        assert await settle(conn, shard=0, worker=who, settlements=[later(lease)])
        assert await ask(conn, "show synchronous_commit") == [("on",)]
        ((written,),) = await ask(conn, "select pg_current_wal_insert_lsn()::text")
    assert await ask(conn, "select pg_current_wal_flush_lsn() >= %s::pg_lsn", written) == [(True,)]
    assert await ask(conn, "show synchronous_commit") == [("off",)]
