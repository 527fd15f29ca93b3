"""Jobs that were enqueued together are one row, claimed whole or in part; each is a job that people see and steer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from scene import LANE, Conn, ask, failed, hire, ids_of, jobs_of, later, put, states, take

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.protocol import ack, reap, rotate, settle, upkeep

pytestmark = pytest.mark.protocol


PACKET = "insert into fastq.packet (segment, shard, pos, jobs, payloads) values (%s, 0, %s, %s, %s)"


async def payloads(conn: Conn, segment: int, jobs: int) -> int:
    """Write a packet; returns the id of its first job."""
    ((first,),) = await ask(conn, "select nextval('fastq.pos')")
    written = json.dumps([{"n": n} for n in range(jobs)]).encode()
    await conn.execute(PACKET, [segment, first, jobs, written])
    return int(first)


async def pack(conn: Conn, jobs: int) -> int:
    """Put a packet of so many jobs into line, as a producer does; returns the id of the first."""
    first = await payloads(conn, 0, jobs)
    row = "insert into fastq.ready_0 (shard, pos, jobs, packet, task) values (0, %s, %s, %s, 't')"
    await conn.execute(row, [first, jobs, first])
    return first


async def later_pack(conn: Conn, jobs: int, *, due: str = "now()") -> int:
    """Put a packet of jobs that wait for a time; returns the id of the first."""
    first = await payloads(conn, 4, jobs)
    row = f"insert into fastq.scheduled (shard, id, run_at, jobs, packet, task) values (0, %s, {due}, %s, %s, 't')"
    await conn.execute(row.encode(), [first, jobs, first])
    return first


async def packets(conn: Conn) -> int:
    """Return how many packets there are."""
    ((count,),) = await ask(conn, "select count(*) from fastq.packet")
    return int(count)


def numbers(rows: list[list[Any]]) -> list[int]:
    """Return what the jobs carry."""
    return [row[4]["n"] for row in rows]


# -- claims


async def test_a_whole_packet_is_claimed_and_goes_with_its_ack(conn: Conn) -> None:
    """Its jobs have ids that follow each other, and nothing of it is left."""
    first = await pack(conn, 5)
    who = await hire(conn)
    got = await take(conn, who, limit=5)
    assert ids_of(got) == list(range(first, first + 5))
    assert numbers(jobs_of(got)) == [0, 1, 2, 3, 4]
    assert (got.hi, got.more, got.rows) == (first + 4, False, 1)
    assert await ack.ack(conn, shard=0, worker=who, leases=got.leases) == set(got.leases)
    assert await packets(conn) == 0
    assert await states(conn) == {}


async def test_an_ack_on_the_way_takes_the_packet_along(conn: Conn) -> None:
    """As an ack alone does."""
    await pack(conn, 5)
    who = await hire(conn)
    got = await take(conn, who, limit=5)
    assert (await take(conn, who, acks=got.leases)).acked == got.leases
    assert await packets(conn) == 0


async def test_a_part_of_a_packet(conn: Conn) -> None:
    """A claim takes as many as it wants; the others stay in line, for anybody, in their order."""
    first = await pack(conn, 10)
    one, other = await hire(conn), await hire(conn)
    a = await take(conn, one, limit=3)
    b = await take(conn, other, limit=4)
    c = await take(conn, one, limit=9)
    assert [ids_of(x) for x in (a, b, c)] == [
        [first, first + 1, first + 2],
        [first + 3, first + 4, first + 5, first + 6],
        [first + 7, first + 8, first + 9],
    ]
    assert [numbers(jobs_of(x)) for x in (a, b, c)] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    assert (a.more, a.hi, c.more) == (True, first + 2, False)
    for who, claims in ((one, [*a.leases, *c.leases]), (other, b.leases)):
        assert await packets(conn) == 1
        await ack.ack(conn, shard=0, worker=who, leases=claims)
    assert await upkeep.sweep_packets(conn, shard=0) == 1
    assert await packets(conn) == 0


async def test_nothing_is_swept_that_waits_runs_or_was_never_cut(conn: Conn) -> None:
    """The steward deletes what nobody can need."""
    await pack(conn, 4)
    who = await hire(conn)
    await take(conn, who, limit=2)
    assert await upkeep.sweep_packets(conn, shard=0) == 0
    rest = await take(conn, who, limit=2)
    assert await upkeep.sweep_packets(conn, shard=0) == 0
    await ack.ack(conn, shard=0, worker=who, leases=rest.leases)
    assert await upkeep.sweep_packets(conn, shard=0) == 0


async def test_small_jobs_are_not_parted_for_little(conn: Conn) -> None:
    """Up to `most` jobs a packet is taken whole."""
    await pack(conn, 10)
    await pack(conn, 10)
    who = await hire(conn)
    got = await take(conn, who, limit=5, most=12)
    assert (len(jobs_of(got)), got.more) == (10, True)


async def test_singles_and_packets_in_one_claim(conn: Conn) -> None:
    """Jobs of their own share a lease; each packet has one; the limit counts jobs, in the order of the line."""
    a, b = await put(conn, '{"n":100}', '{"n":101}')
    first = await pack(conn, 3)
    (c,) = await put(conn, '{"n":102}')
    who = await hire(conn)
    got = await take(conn, who, limit=4)
    assert sorted(ids_of(got)) == [a, b, first, first + 1]
    assert len(got.leases) == 2
    rest = await take(conn, who, low=got.hi, limit=10)
    assert sorted(ids_of(rest)) == sorted([first + 2, c])


async def test_a_stranger_cannot_have_a_packet_deleted(conn: Conn) -> None:
    """A row that names somebody else's packet runs with its payloads, and leaves them to their owner."""
    first = await pack(conn, 3)
    await conn.execute(
        "insert into fastq.ready_0 (shard, pos, jobs, packet, queue, task) values (0, 7, 3, %s, 'other', 't')", [first]
    )
    who = await hire(conn)
    forged = await take(conn, who, lane=replace(LANE, queue="other"))
    await ack.ack(conn, shard=0, worker=who, leases=forged.leases)
    assert numbers(jobs_of(await take(conn, who))) == [0, 1, 2]


@pytest.mark.parametrize("damage", ["delete from fastq.packet", "update fastq.packet set payloads = 'rubbish'"])
async def test_jobs_whose_payloads_are_gone_fail_alone(conn: Conn, damage: str) -> None:
    """They are seen by everybody, and cost nobody else anything."""
    first = await pack(conn, 2)
    (single,) = await put(conn, "{}")
    await conn.execute(damage.encode())
    assert set(await states(conn)) == {first, first + 1, single}
    who = await hire(conn)
    got = await take(conn, who)
    (packet,) = got.packets
    lease = packet.lease
    await settle.settle(conn, shard=0, worker=who, settlements=[failed(lease, 0), failed(lease, 1)])
    assert (await states(conn))[first] == "failed"
    assert (await states(conn))[single] == "running"


# -- what becomes of the jobs


async def test_each_job_of_a_packet_ends_on_its_own(conn: Conn) -> None:
    """One fails, one is tried again later, one comes back; the others are done."""
    first = await pack(conn, 5)
    who = await hire(conn)
    got = await take(conn, who)
    (lease,) = got.leases
    tried = [failed(lease, 1), later(lease, 2, delay_s=60)]
    assert len(await settle.settle(conn, shard=0, worker=who, settlements=tried)) == 2
    assert await states(conn) == {
        first: "running",
        first + 1: "failed",
        first + 2: "retrying",
        first + 3: "running",
        first + 4: "running",
    }
    assert await ask(conn, "select payload::text from fastq.job where id = %s", first + 2) == [('{"n": 2}',)]
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 0), (lease, 4)])
    assert (await states(conn)).keys() == {first + 1, first + 2, first + 3}
    await ack.ack(conn, shard=0, worker=who, leases=[lease])
    assert (await states(conn)).keys() == {first + 1, first + 2}


async def test_what_a_dead_worker_held_of_a_packet_comes_back(conn: Conn) -> None:
    """All that it had not finished, each job with its own id and payload; the packet is swept."""
    first = await pack(conn, 4)
    who = await hire(conn)
    (lease,) = (await take(conn, who)).leases
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 2)])
    end = Died(ran=False, cause="SIGKILL")
    assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end)) == 3
    assert await states(conn) == dict.fromkeys([first, first + 1, first + 3], "ready")
    assert await upkeep.sweep_packets(conn, shard=0) == 1
    other = await hire(conn)
    assert numbers(jobs_of(await take(conn, other))) == [0, 1, 3]


# -- people


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
    await upkeep.sweep_packets(conn, shard=0)
    assert await packets(conn) == 0


# -- time, and the ring


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
    await ack.ack(conn, shard=0, worker=who, leases=(await take(conn, who, limit=20_000)).leases)
    tables = {emptied.table for emptied in await rotate.truncatable(conn)}
    assert {"ready_0", "packet_0"} <= tables
    for emptied in await rotate.truncatable(conn):
        assert await rotate.truncate(conn, emptied, readers_ms=10_000)
    assert await ask(conn, "select pg_total_relation_size('fastq.packet_0') < 50000") == [(True,)]


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
