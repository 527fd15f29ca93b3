"""The worker's claimer and ledger over a real connection, where their statements meet each other half-way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from scene import Conn, ask, put, states, take, until_blocked
from worker_rig import Rig

from fastq.postgres.link import Link
from fastq.protocol import claim
from fastq.protocol.claim import Lane
from fastq.worker.claimer import Fenced
from fastq.worker.known import MOST_REPORTED

pytestmark = pytest.mark.protocol


async def inside(link: Link) -> Conn:
    """Return the connection of a link."""
    return await link.open_or_kept()


async def test_claims_and_acks(rig: Rig, conn: Conn) -> None:
    """A step finds the lane and claims; finished batches are acknowledged by the next claim."""
    await put(conn, "{}", "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    batch.left = 0
    rig.ledger.finished(batch)
    await put(conn)
    rig.claimer.ring()
    await rig.claimer.step()
    assert await ask(conn, "select id from fastq.lease") == [(rig.hands.leases[1],)]
    assert rig.ledger.progress == 2


async def test_more_groups_than_one_look_shows(rig: Rig, conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """When those that it shows have run dry, the next look goes on behind them at once."""
    monkeypatch.setattr("fastq.worker.lookout.RESCAN_MIN_S", 3600.0)
    await conn.execute(
        "insert into fastq.ready_0 (shard, group_key, task) select 0, 'g' || n, 't' from generate_series(1, 900) n"
    )
    rig.hands.free = 10_000
    while sum(batch.size for batch in rig.hands.fed) < 900:
        await rig.claimer.step()
    assert await ask(conn, "select count(*)::int from fastq.ready") == [(0,)]


async def test_jobs_behind_the_mark_are_found(rig: Rig, conn: Conn) -> None:
    """A transaction that committed late puts jobs where this worker has claimed already: the next full look sees it."""
    late, early = await put(conn, "{}", "{}")
    await conn.execute("update fastq.ready_0 set pos = pos + 1000 where pos = %s", [early])
    await conn.execute("create temp table late as select * from fastq.ready_0 where pos = %s", [late])
    await conn.execute("delete from fastq.ready_0 where pos = %s", [late])
    await rig.claimer.step()
    await conn.execute("insert into fastq.ready_0 select * from late")
    rig.claimer.ring()
    while len(rig.hands.fed) < 2:
        await rig.claimer.step()
    assert [row[0] for batch in rig.hands.fed for _, row in batch.remaining] == [early + 1000, late]


async def test_jobs_behind_the_mark_are_found_without_a_full_look(rig: Rig, conn: Conn) -> None:
    """What was committed a moment late is seen by a look back over that moment, which does not start from zero."""
    late, early = await put(conn, "{}", "{}")
    await conn.execute("update fastq.ready_0 set pos = pos + 1000 where pos = %s", [early])
    await conn.execute("create temp table late as select * from fastq.ready_0 where pos = %s", [late])
    await conn.execute("delete from fastq.ready_0 where pos = %s", [late])
    await rig.claimer.lookout.beyond(0.0)
    await rig.claimer.step()
    rig.claimer.lookout._zero_at = float("inf")
    rig.claimer.lookout._back_at, rig.claimer.lookout._backs = 0.0, 127  # the next one looks seven seconds back
    await conn.execute("insert into fastq.ready_0 select * from late")
    rig.claimer.ring()
    await rig.claimer.step()
    assert [row[0] for batch in rig.hands.fed for _, row in batch.remaining] == [early + 1000, late]


async def test_jobs_of_another_lane_are_found_at_once(rig: Rig, conn: Conn) -> None:
    """A doorbell means a look beyond what is known, although it is not yet time to look at everything again."""
    await put(conn)
    await rig.claimer.step()
    rig.claimer.lookout._zero_at = rig.claimer.lookout._beyond_at = float("inf")
    await put(conn, lane=Lane(0, 2, "other", 1, "g"))
    rig.claimer.ring()
    await rig.claimer.step()
    assert [batch.lane.queue for batch in rig.hands.fed] == ["default", "other"]


async def test_a_batch_that_was_cut_is_followed_by_the_next(
    rig: Rig, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer jobs than were asked for do not mean that there are no more, when they were many bytes."""
    monkeypatch.setattr(claim, "MAX_BATCH_BYTES", 100)
    await put(conn, *['{"a":"' + "x" * 40 + '"}'] * 6)
    for _ in range(3):
        await rig.claimer.step()
    assert [batch.size for batch in rig.hands.fed] == [2, 2, 2]


async def test_a_fenced_claimer_stops(rig: Rig, conn: Conn) -> None:
    """When the worker row is gone, the next claim says so."""
    await put(conn)
    await conn.execute("delete from fastq.worker")
    with pytest.raises(Fenced):
        await rig.claimer.step()


async def test_a_lease_whose_answer_was_lost_is_adopted_once(rig: Rig, conn: Conn) -> None:
    """After a break, a lease that the database holds for us and we don't know is run."""
    await put(conn)
    lost = await take(conn, rig.worker)
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    await rig.claimer.intake.adopt_if_due()
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert rig.hands.leases == [lost.lease]


async def test_what_waits_under_a_claim_that_the_database_lost_is_not_run(rig: Rig, conn: Conn) -> None:
    """Claims are committed asynchronously: after a crash the jobs are ready again, and somebody else's."""
    await put(conn, "{}", "{}", "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    next(batch.remaining)  # one runs
    await conn.execute("delete from fastq.lease")
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert (batch.waiting, batch.left) == (0, 1)
    assert list(rig.ledger.open) == [batch.lease]
    await put(conn)
    await rig.claimer.step()
    await conn.execute("delete from fastq.lease")
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert list(rig.ledger.open) == [batch.lease]


async def test_a_lease_being_acknowledged_is_not_adopted(rig: Rig, conn: Conn, other: Conn) -> None:
    """A lease whose ack is on its way when the database lists our leases is not taken for a lost one."""
    await put(conn)
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    rig.link.breaks += 1  # or ten seconds have passed
    async with other.transaction():
        await other.execute("lock table fastq.lease in access exclusive mode")
        adopting = asyncio.create_task(rig.claimer.intake.adopt_if_due())
        await until_blocked(conn, await inside(rig.link))
        batch.left = 0
        rig.ledger.finished(batch)
        flushing = asyncio.create_task(rig.ledger.flush())
        await asyncio.sleep(0)  # it takes the acks and waits for the connection
    await asyncio.gather(adopting, flushing)
    assert rig.hands.leases == [batch.lease]


async def test_what_was_long_on_its_way_is_confirmed_before_it_runs(rig: Rig, conn: Conn) -> None:
    """When a claim's answer took half a lease, others may have the jobs by now: nothing starts before that is known."""
    await put(conn)
    object.__setattr__(rig.claimer._config, "lease_s", 1e-9)
    await rig.claimer.step()
    assert (rig.hands.doubted, len(rig.hands.fed)) == (True, 1)
    await rig.claimer.step()
    assert not rig.hands.doubted
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert rig.hands.doubted
    await conn.execute("delete from fastq.worker")
    with pytest.raises(Fenced):
        await rig.claimer.step()


async def test_jobs_of_unknown_tasks_are_never_claimed(rig: Rig, conn: Conn, caplog: pytest.LogCaptureFixture) -> None:
    """Of however many names: what stands behind them is claimed at once, they stay, and are told of once each."""
    await conn.execute("insert into fastq.ready_0 (task) select 'stranger.' || n from generate_series(1, 1000) n")
    (known,) = await put(conn)
    with caplog.at_level("WARNING"):
        for _ in range(3):
            await rig.claimer.step()
    assert [row[0] for batch in rig.hands.fed for _, row in batch.remaining] == [known]
    assert await ask(conn, "select count(*) from fastq.ready") == [(1000,)]
    assert await ask(conn, "select count(*) from fastq.lease") == [(1,)]
    told = [record.getMessage() for record in caplog.records if "this app has no task" in record.getMessage()]
    assert len(told) == len(set(told)) == MOST_REPORTED


async def test_a_doorbell_does_not_open_a_paused_queue(rig: Rig, conn: Conn) -> None:
    """A job that comes for a paused queue stays, though the worker knows the lane and was told of it."""
    await put(conn)
    await rig.claimer.step()
    while len(rig.claimer._lanes):
        await rig.claimer.step()
    await conn.execute("insert into fastq.queue (name, paused) values ('default', true)")
    (place,) = await put(conn)
    rig.claimer.ring()
    await rig.claimer.step()
    assert (await states(conn))[place] == "ready"


@pytest.mark.parametrize("watches", [True, False])
async def test_who_is_relieved_looks_rarely(rig: Rig, monkeypatch: pytest.MonkeyPatch, *, watches: bool) -> None:
    """While its host hears of jobs and another worker of it looks, it waits six times as long; a ring ends that."""
    claimer, waits = rig.claimer, []

    async def woken(patience_s: float) -> bool:
        waits.append(patience_s)
        return rung and len(waits) == 3

    monkeypatch.setattr(claimer, "_woken", woken)
    claimer.listens, claimer.watches, rung = (lambda: True), (lambda: watches), False
    while not waits or waits[-1] < 0.2:  # 20 polls of 10 ms
        await claimer.step()
    waits.clear()
    await claimer.step()
    assert waits == [0.2] * (1 if watches else 6)
    waits.clear()
    rung = True
    await claimer.step()
    assert waits == [0.2] * (1 if watches else 3)


async def test_a_burst_looks_often_whether_it_is_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not its host hears of jobs: what ends rings no bell."""
    claimer, waits = rig.claimer, []

    async def woken(patience_s: float) -> bool:
        waits.append(patience_s)
        return False

    monkeypatch.setattr(claimer, "_woken", woken)
    claimer._config = replace(claimer._config, burst=True)
    claimer.listens, rig.hands.quiet = (lambda: True), False
    for _ in range(12):
        assert await claimer.step()
    assert max(waits) == claimer._config.poll_interval_s
    rig.hands.quiet = True
    assert not await claimer.step()
