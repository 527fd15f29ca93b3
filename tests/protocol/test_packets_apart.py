"""One job of a packet is seen, cancelled and deleted alone; a packet is promoted, counted and swept as one."""

from __future__ import annotations

import psycopg
import pytest
from packed_jobs import numbers, pack, packets, payloads, sweep
from scene import Conn, ask, hire, ids_of, jobs_of, put, states, take

from fastq.protocol import ack, rotate, upkeep

pytestmark = pytest.mark.protocol


async def later_pack(conn: Conn, jobs: int, *, due: str = "now()") -> int:
    """Put a packet of jobs that wait for a time; returns the id of the first."""
    first = await payloads(conn, 4, jobs)
    row = f"insert into fastq.scheduled (shard, id, run_at, jobs, packet, task) values (0, %s, {due}, %s, %s, 't')"
    await conn.execute(row.encode(), [first, jobs, first])
    return first


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("waits", [False, True])
async def test_one_job_of_a_packet_is_cancelled_and_its_neighbours_stay(conn: Conn, at: int, waits: bool) -> None:
    """The first, the last or one between them, of those that are ready and of those that wait for a time."""
    first = await (later_pack(conn, 5, due="now() + interval '1 hour'") if waits else pack(conn, 5))
    assert await ask(conn, "select fastq.cancel(%s)", first + at) == [("cancelled",)]
    found = await states(conn)
    assert found.pop(first + at) == "cancelled"
    assert found == dict.fromkeys(set(range(first, first + 5)) - {first + at}, "scheduled" if waits else "ready")
    assert await ask(conn, "select payload::text from fastq.finished") == [(f'{{"n": {at}}}',)]
    if waits:
        await conn.execute("update fastq.scheduled set run_at = now()")
        assert (await upkeep.promote(conn, shard=0)).jobs == 4
    got = [n for _ in range(3) for n in numbers(jobs_of(await take(conn, await hire(conn), limit=2)))]
    assert got == [n for n in range(5) if n != at]


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_one_job_of_a_packet_is_deleted(conn: Conn, at: int) -> None:
    """Only that one; a job behind the end of the packet is none of it."""
    first = await pack(conn, 3)
    assert await ask(conn, "select fastq.delete(%s)", first + 3) == [(None,)]
    assert await ask(conn, "select fastq.delete(%s)", first + at) == [("ready",)]
    assert (await states(conn)).keys() == set(range(first, first + 3)) - {first + at}


async def test_a_running_job_of_a_packet_is_marked(conn: Conn) -> None:
    """Its worker learns which one to end."""
    first = await pack(conn, 3)
    (lease,) = (await take(conn, await hire(conn))).leases
    assert await ask(conn, "select fastq.cancel(%s)", first + 1) == [("cancelling",)]
    assert await ask(conn, "select job, lease, ord from fastq.cancellation") == [(first + 1, lease, 1)]


async def test_a_job_of_a_packet_is_found_wherever_it_is(conn: Conn) -> None:
    """In line, waiting for its time, running, in parts."""
    ready, scheduled = await pack(conn, 4), await later_pack(conn, 4, due="now() + interval '1 hour'")
    await take(conn, await hire(conn), limit=2)
    find = "select state, payload::text from fastq.find(%s)"
    assert await ask(conn, find, ready + 1) == [("running", '{"n": 1}')]
    assert await ask(conn, find, ready + 3) == [("ready", '{"n": 3}')]
    assert await ask(conn, find, scheduled + 2) == [("scheduled", '{"n": 2}')]
    assert await ask(conn, find, ready + 4) == []


@pytest.mark.parametrize("most", [None, 1, 3, 5, 7, 10])
@pytest.mark.parametrize("does", ["delete_jobs", "cancel_jobs"])
async def test_so_many_jobs_as_asked_for_are_taken_out(conn: Conn, does: str, most: int | None) -> None:
    """Also out of the middle of packets."""
    await pack(conn, 3)
    await put(conn, '{"n":7}')
    await pack(conn, 3)
    await later_pack(conn, 3, due="now() + interval '1 hour'")
    wanted = min(10, most or 10)
    await ask(conn, f"select * from fastq.{does}(most => %s)", most)
    left = [state for state in (await states(conn)).values() if state != "cancelled"]
    assert len(left) == 10 - wanted
    if does == "cancel_jobs":
        assert len(await states(conn)) == 10
    await ask(conn, f"select * from fastq.{does}(states => array['ready', 'scheduled'])")
    await sweep(conn)
    assert await packets(conn) == 0


async def test_a_packet_that_is_due_moves_as_one_row(conn: Conn) -> None:
    """Its payloads stay where they are; its jobs keep their ids."""
    first = await later_pack(conn, 500)
    assert (await upkeep.promote(conn, shard=0)).jobs == 500
    assert await ask(conn, "select jobs, id from fastq.ready") == [(500, first)]
    who = await hire(conn)
    a, b = await take(conn, who, limit=200), await take(conn, who, limit=500)
    assert [*ids_of(a), *ids_of(b)] == list(range(first, first + 500))
    assert [*numbers(jobs_of(a)), *numbers(jobs_of(b))] == list(range(500))


async def test_packets_turn_the_ring_and_are_truncated(conn: Conn) -> None:
    """Their space counts for the head, and is given back when all have ended."""
    for _ in range(40):
        await pack(conn, 500)
    assert await rotate.advance(conn, shard=0, head_bytes=200_000) == 1
    who = await hire(conn)
    for _ in range(39):
        await ack.ack(conn, shard=0, worker=who, leases=(await take(conn, who, limit=500)).leases)
    assert "packet_0" not in {emptied.table for emptied in await rotate.truncatable(conn)}  # one waits
    got = await take(conn, who, limit=500)
    assert [emptied.table for emptied in await rotate.truncatable(conn)] == ["ready_0"]  # one runs
    assert not await rotate.truncate(conn, rotate.Emptied("packet_0", 0))
    assert len(numbers(jobs_of(got))) == 500
    await ack.ack(conn, shard=0, worker=who, leases=got.leases)
    assert [emptied.table for emptied in await rotate.truncatable(conn)] == ["packet_0", "ready_0", "lease_0"]
    for emptied in await rotate.truncatable(conn):
        assert await rotate.truncate(conn, emptied, readers_ms=10_000)
    assert await ask(conn, "select pg_total_relation_size('fastq.packet_0') < 50000") == [(True,)]


async def test_packets_are_not_truncated_beside_whom_has_written_one(conn: Conn, other: Conn) -> None:
    """A producer's transaction is not waited for; what it commits between the look and the lock is seen."""
    await pack(conn, 500)
    await rotate.advance(conn, shard=0, head_bytes=1)
    who = await hire(conn)
    await ack.ack(conn, shard=0, worker=who, leases=(await take(conn, who, limit=500)).leases)
    emptied = rotate.Emptied("packet_0", 0)
    async with other.transaction():
        first = await pack(other, 3)
        assert emptied in await rotate.truncatable(conn)
        assert not await rotate.truncate(conn, emptied)
    assert not await rotate.truncate(conn, emptied)
    assert ids_of(await take(conn, who)) == [first, first + 1, first + 2]


async def test_a_head_that_cannot_go_on_is_swept(conn: Conn) -> None:
    """As soon as it is large; the segment of scheduled jobs in any case, unless it is empty."""
    await pack(conn, 500)
    assert await rotate.sweepable(conn, shards=[0]) == set()
    assert await rotate.sweepable(conn, shards=[0], swept_bytes=1) == {(0, 0)}
    await later_pack(conn, 3)
    assert await rotate.sweepable(conn, shards=[0]) == {(0, 4)}


async def test_a_sweep_deletes_so_many_at_once(conn: Conn) -> None:
    """And those that are needed stay."""
    for _ in range(5):
        await pack(conn, 2)
    who = await hire(conn)
    await ack.ack(conn, shard=0, worker=who, leases=(await take(conn, who, limit=6)).leases)
    swept = [await rotate.sweep(conn, shard=0, segment=0, limit=2) for _ in range(3)]
    assert (swept, await packets(conn)) == ([2, 1, 0], 2)


async def test_counts_are_of_jobs(conn: Conn) -> None:
    """The view of jobs, and what running means where there are limits."""
    await pack(conn, 7)
    await later_pack(conn, 2, due="now() + interval '1 hour'")
    who = await hire(conn)
    await take(conn, who, limit=3)
    assert await ask(conn, "select state, count(*) from fastq.job group by 1 order by 1") == [
        ("ready", 4),
        ("running", 3),
        ("scheduled", 2),
    ]
    assert await ask(conn, "select sum(fastq.jobs_left(l)) from fastq.lease l") == [(3,)]


@pytest.mark.parametrize(
    "row",
    [
        "ready_0 (pos, jobs, packet, task) values (9223372036854775800, 9, 7, 't')",
        "ready_0 (pos, jobs, packet, task) values (-9, 9, 7, 't')",
        "ready_0 (pos, id, jobs, packet, task) values (7, 9223372036854775800, 9, 7, 't')",
        "ready_0 (pos, jobs, packet, task) values (7, 0, 7, 't')",
        "ready_0 (pos, jobs, packet, task) values (7, 1025, 7, 't')",
        "ready_0 (pos, jobs, task) values (7, 9, 't')",
        "ready_0 (pos, packet, task) values (7, 9, 't')",
        "ready_0 (pos, jobs, packet, attempt, task) values (7, 9, 7, 1, 't')",
        "scheduled (shard, id, run_at, jobs, packet, task) values (0, 9223372036854775800, now(), 9, 7, 't')",
        "scheduled (shard, id, run_at, jobs, packet, reason, task) values (0, 7, now(), 9, 7, 'retrying', 't')",
        "packet (segment, shard, pos, jobs, payloads) values (0, 0, 9223372036854775800, 9, '[]')",
        (
            "lease_0 (shard, id, worker, queue, priority, group_key, packet, first, jobs, task, enqueued_ms)"
            " values (0, 7, 7, 'q', 4, '', 7, 9223372036854775800, 9, 't', 0)"
        ),
        "lease_0 (shard, id, worker, queue, priority, group_key, packet) values (0, 7, 7, 'q', 4, '', 7)",
        (
            "lease_0 (shard, id, worker, queue, priority, group_key, batch, claimed_at)"
            " values (0, 7, 7, 'q', 4, '', '[]', '-infinity')"
        ),
        "ready_0 (pos, task) values (-9223372036854775808, 't')",
        (
            "finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, finished_at)"
            " values (0, 7, 'failed', 4, 1, 0, 'q', '', 't', 'infinity')"
        ),
        (
            "finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, expires_at)"
            " values (0, 7, 'failed', 4, 1, 0, 'q', '', 't', '20000-01-01')"
        ),
    ],
)
async def test_the_door_refuses_what_nobody_can_take(conn: Conn, row: str) -> None:
    """Numbers that would overflow, times that no client reads, a packet without jobs, a past packets do not have."""
    with pytest.raises(psycopg.errors.CheckViolation):
        await conn.execute(f"insert into fastq.{row}".encode())
