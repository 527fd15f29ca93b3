"""Claims of many groups at once: shares, order, marks, and that every job stays in its own group wherever it goes."""

from __future__ import annotations

import pytest
from scene import LANE, Conn, ask, back, failed, hire, ids_of, jobs_of, later, put, take_groups

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.protocol import claim, jobs, packed, reap
from fastq.protocol.asking import carry_out
from fastq.protocol.settle import settle

pytestmark = pytest.mark.protocol


async def fill(conn: Conn, **counts: int) -> dict[str, list[int]]:
    """Put so many jobs into each group; returns their positions by group."""
    return {key: await put(conn, *["{}"] * count, lane=LANE._replace(group_key=key)) for key, count in counts.items()}


async def groups(conn: Conn) -> dict[int, str]:
    """Return the group of every job."""
    return dict(await ask(conn, "select id, group_key from fastq.job"))


async def test_a_share_of_each_in_order(conn: Conn) -> None:
    """Each group gives up to the share, in the order asked for and of its positions; each job carries its group."""
    placed = await fill(conn, a=3, b=1, c=5)
    got = await take_groups(conn, await hire(conn), ["c", "a", "b"], share=2)
    assert ids_of(got) == [*placed["c"][:2], *placed["a"][:2], *placed["b"]]
    assert [row[7] for row in jobs_of(got)] == ["c", "c", "a", "a", "b"]
    assert got.rows == 5


async def test_the_limit_over_all_groups(conn: Conn) -> None:
    """The claim ends at its limit, in the middle of a group if need be."""
    placed = await fill(conn, a=2, b=2, c=2)
    got = await take_groups(conn, await hire(conn), "abc", share=2, limit=3)
    assert ids_of(got) == [*placed["a"], placed["b"][0]]
    assert got.rows == 3


async def test_marks_of_groups(conn: Conn) -> None:
    """Each group is looked at from its own mark on."""
    placed = await fill(conn, a=3)
    got = await take_groups(conn, await hire(conn), "ab", low=placed["a"][1])
    assert ids_of(got) == placed["a"][2:]


async def test_the_cap_in_bytes(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch ends before it passes its size, and tells that there were more; its first job always comes along."""
    monkeypatch.setattr(claim, "MAX_BATCH_BYTES", 100)
    await put(conn, f'"{"x" * 150}"', lane=LANE._replace(group_key="a"))
    await put(conn, *[f'"{"y" * 40}"'] * 3, lane=LANE._replace(group_key="b"))
    who = await hire(conn)
    first, second = await take_groups(conn, who, "ab"), await take_groups(conn, who, "ab")
    assert [len(ids_of(got)) for got in (first, second)] == [1, 2]
    assert [got.rows for got in (first, second)] == [4, 3]


async def test_two_workers_share_the_groups(conn: Conn, other: Conn) -> None:
    """What another claim holds is left out, without waiting."""
    placed = await fill(conn, a=2, b=2)
    who = await hire(conn)
    async with conn.transaction():
        await take_groups(conn, who, "a")
        assert ids_of(await take_groups(other, await hire(other), "ab")) == placed["b"]


async def test_nothing_to_be_had(conn: Conn) -> None:
    """Empty groups give no lease; a paused queue gives nothing; a worker that is gone is told so."""
    who = await hire(conn)
    empty = await take_groups(conn, who, "ab")
    assert (empty.batch, empty.rows, empty.alive) == (None, 0, True)
    await fill(conn, a=1)
    await conn.execute("select fastq.pause('default')")
    assert (await take_groups(conn, who, "ab")).batch is None
    await conn.execute("select fastq.resume('default')")
    assert not (await take_groups(conn, who + 1, "ab")).alive


async def test_each_job_goes_back_to_its_group(conn: Conn) -> None:
    """Returned, retried and failed jobs of one lease stand in their own groups; so do those that run."""
    placed = await fill(conn, a=1, b=1, c=1, d=1)
    who = await hire(conn)
    got = await take_groups(conn, who, "abcd")
    belongs = {job: key for key, (job,) in placed.items()}
    assert await groups(conn) == belongs
    moves = [back(got.lease, 0), later(got.lease, 1), failed(got.lease, 2)]
    await settle(conn, shard=0, worker=who, settlements=moves)
    assert await groups(conn) == belongs


async def test_a_reaped_lease_of_many_groups(conn: Conn) -> None:
    """A dead worker's jobs go back to their own groups."""
    placed = await fill(conn, a=2, b=1)
    who = await hire(conn)
    await take_groups(conn, who, "ab")
    await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, Died(ran=False, cause="SIGKILL")))
    assert await ask(conn, "select group_key, count(*) from fastq.ready group by 1 order by 1") == [("a", 2), ("b", 1)]
    assert sorted((await groups(conn)).values()) == ["a", "a", "b"]
    assert len(placed["a"]) == 2


async def test_people_see_the_group(conn: Conn) -> None:
    """A running job is found and listed with its own group; so is one read from its lease alone."""
    placed = await fill(conn, a=1, b=1)
    got = await take_groups(conn, await hire(conn), "ab")
    found = await carry_out(conn, jobs.find(placed["b"][0]))
    assert found is not None
    assert (found.state, found.group_key) == ("running", "b")
    listed = await carry_out(conn, jobs.survey(jobs.JobFilter(), 10))
    assert {job.id: job.group_key for job in listed} == {placed["a"][0]: "a", placed["b"][0]: "b"}
    rows, _ = packed.decode(got.batch or b"")
    assert [row[packed.GROUP] for row in rows] == ["a", "b"]
