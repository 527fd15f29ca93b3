"""Acknowledging leases and marking single jobs done."""

from __future__ import annotations

import pytest
from scene import Conn, ask, hire, put, states, take

from fastq.protocol import ack, completion, leases
from fastq.protocol.completion import Place

pytestmark = pytest.mark.protocol


async def test_ack_deletes_leases(conn: Conn) -> None:
    """An acknowledged lease is gone, and with it its jobs."""
    await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    first, second = await take(conn, who, limit=2), await take(conn, who)
    assert await ack.ack(conn, shard=0, worker=who, leases=[first.lease]) == {first.lease}
    assert len(await states(conn)) == 1
    assert await ack.ack(conn, shard=0, worker=who, leases=[first.lease, second.lease]) == {second.lease}
    assert await states(conn) == {}


async def test_ack_of_a_lease_that_is_gone(conn: Conn) -> None:
    """What was taken from us is not reported as ours."""
    assert await ack.ack(conn, shard=0, worker=1, leases=[1, 2]) == set()
    assert await ack.ack(conn, shard=0, worker=1, leases=[]) == set()
    assert await ack.ack_jobs(conn, shard=0, worker=1, jobs=[(1, 0)]) == set()


async def test_ack_of_anothers_lease_changes_nothing(conn: Conn) -> None:
    """Neither a whole lease nor a job of it can be acknowledged by another worker, or in another shard."""
    (place,) = await put(conn)
    mine, theirs = await hire(conn, shards=2), await hire(conn)
    lease = (await take(conn, theirs)).lease
    assert await ack.ack(conn, shard=0, worker=mine, leases=[lease]) == set()
    assert await ack.ack(conn, shard=1, worker=theirs, leases=[lease]) == set()
    assert await ack.ack_jobs(conn, shard=0, worker=mine, jobs=[(lease, 0)]) == set()
    assert await states(conn) == {place: "running"}
    assert await ask(conn, "select done from fastq.lease") == [([],)]


async def test_ack_jobs_marks_jobs_of_several_leases(conn: Conn) -> None:
    """Done jobs are no longer there for anybody; their neighbours are, and keep their ordinals."""
    places = await put(conn, *["{}"] * 6)
    who = await hire(conn)
    first, second = await take(conn, who, limit=3), await take(conn, who)
    marked = [(first.lease, 0), (second.lease, 2), (first.lease, 2), (999, 0)]
    assert await ack.ack_jobs(conn, shard=0, worker=who, jobs=marked) == {first.lease, second.lease}
    assert set(await states(conn)) == {places[1], places[3], places[4]}
    ((done,),) = await ask(conn, "select done from fastq.lease where id = %s", first.lease)
    assert set(done) == {0, 2}
    assert await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(first.lease, 1)]) == {first.lease}
    assert await ask(conn, "select done from fastq.lease where id = %s", first.lease) == [([0, 2, 1],)]


async def test_leases_are_listed_with_what_is_done(conn: Conn) -> None:
    """A lease can also be unknown to its worker because a crash of the server undid its ack."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 1)])
    await completion.complete(conn, Place(0, lease, 0))
    (held,) = await leases.list_leases(conn, shard=0, worker=who)
    assert (held.lease, held.done) == (lease, {0, 1})
