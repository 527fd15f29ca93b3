"""Jobs that were enqueued together are one row, claimed whole or in part; each is a job that people see and steer."""

from __future__ import annotations

import pytest
from packed_jobs import numbers, pack, packets, sweep
from scene import LANE, Conn, ask, failed, hire, ids_of, jobs_of, later, put, states, take

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.protocol import ack, reap, settle

pytestmark = pytest.mark.protocol


async def test_a_whole_packet_is_claimed_and_acknowledged(conn: Conn) -> None:
    """Its jobs have ids that follow each other; nobody needs its payloads any more."""
    first = await pack(conn, 5)
    who = await hire(conn)
    got = await take(conn, who, limit=5)
    assert ids_of(got) == list(range(first, first + 5))
    assert numbers(jobs_of(got)) == [0, 1, 2, 3, 4]
    assert (got.hi, got.more, got.rows) == (first + 4, False, 1)
    assert await ack.ack(conn, shard=0, worker=who, leases=got.leases) == set(got.leases)
    assert await states(conn) == {}
    assert await sweep(conn) == 1


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
        assert await sweep(conn) == 0
        await ack.ack(conn, shard=0, worker=who, leases=claims)
    assert await sweep(conn) == 1
    assert await packets(conn) == 0


async def test_nothing_is_swept_that_waits_or_runs(conn: Conn) -> None:
    """The steward deletes what nobody can need."""
    await pack(conn, 4)
    who = await hire(conn)
    await take(conn, who, limit=2)
    assert await sweep(conn) == 0
    rest = await take(conn, who, limit=2)
    assert await sweep(conn) == 0
    await ack.ack(conn, shard=0, worker=who, leases=rest.leases)
    assert await sweep(conn) == 0


async def test_the_rest_of_a_packet_that_waits_alone_is_not_swept(conn: Conn) -> None:
    """Its part has been acknowledged; nothing but a row of ready names the packet then."""
    await pack(conn, 9)
    who = await hire(conn)
    part = await take(conn, who, limit=3)
    await ack.ack(conn, shard=0, worker=who, leases=part.leases)
    assert await sweep(conn) == 0
    assert numbers(jobs_of(await take(conn, who, low=part.hi))) == list(range(3, 9))


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
    forged = await take(conn, who, lane=LANE._replace(queue="other"))
    await ack.ack(conn, shard=0, worker=who, leases=forged.leases)
    assert await sweep(conn) == 0
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
    assert await sweep(conn) == 1
    other = await hire(conn)
    assert numbers(jobs_of(await take(conn, other))) == [0, 1, 3]
