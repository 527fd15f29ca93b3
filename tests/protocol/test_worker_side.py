"""The worker's claimer and ledger over a real connection, where their statements meet each other half-way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from scene import LANE, Conn, ask, back, hire, ids_of, put, states, take, until_blocked

from fastq.config import WorkerConfig
from fastq.host.board import Board, Word
from fastq.postgres.link import Link
from fastq.protocol import ack, claim, completion
from fastq.protocol.claim import Lane
from fastq.protocol.completion import Place
from fastq.worker.batch import Batch
from fastq.worker.claimer import Claimer, Fenced
from fastq.worker.known import TOLD_MOST, Known
from fastq.worker.ledger import Ledger

pytestmark = pytest.mark.protocol


@dataclass
class Hands:
    """An executor that only collects what it is fed."""

    free: int = 50
    waiting: int = 0
    busy: int = 0
    quiet: bool = True
    doubted: bool = False
    known: Known = field(default_factory=lambda: Known(["t"]))
    fed: list[Batch] = field(default_factory=list)
    batching: dict[str, Any] = field(default_factory=dict)
    on_room: Any = None

    def feed(self, batch: Batch) -> None:
        """Take a batch."""
        self.fed.append(batch)

    def doubt(self) -> None:
        """Start nothing more."""
        self.doubted = True

    def trust(self) -> None:
        """Go on."""
        self.doubted = False

    @property
    def leases(self) -> list[int]:
        """The leases that came, in order."""
        return [batch.lease for batch in self.fed]


@dataclass
class Rig:
    """One worker's claimer and ledger."""

    worker: int
    link: Link
    ledger: Ledger
    hands: Hands
    claimer: Claimer


@pytest.fixture
async def rig(dsn: str, conn: Conn) -> AsyncIterator[Rig]:
    """Give a worker that claims and says what became of its jobs, but runs none."""
    worker, link = await hire(conn), Link(dsn, "fastq test")
    ledger, hands = Ledger(link, Board(cells=1, running=4).cells[0], worker), Hands()
    config = WorkerConfig(target="", dsn=dsn, poll_interval_s=0.01)
    claimer = Claimer(config, worker=worker, link=link, executor=hands, ledger=ledger)  # type: ignore[arg-type]
    await link.open()
    yield Rig(worker, link, ledger, hands, claimer)
    await link.close()


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
    await rig.claimer._lookout.beyond(0.0)
    await rig.claimer.step()
    rig.claimer._lookout._zero_at = float("inf")
    rig.claimer._lookout._back_at, rig.claimer._lookout._backs = 0.0, 127  # the next one looks seven seconds back
    await conn.execute("insert into fastq.ready_0 select * from late")
    rig.claimer.ring()
    await rig.claimer.step()
    assert [row[0] for batch in rig.hands.fed for _, row in batch.remaining] == [early + 1000, late]


async def test_jobs_of_another_lane_are_found_at_once(rig: Rig, conn: Conn) -> None:
    """A doorbell means a look beyond what is known, although it is not yet time to look at everything again."""
    await put(conn)
    await rig.claimer.step()
    rig.claimer._lookout._zero_at = rig.claimer._lookout._beyond_at = float("inf")
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
    assert len(told) == len(set(told)) == TOLD_MOST


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


@pytest.mark.parametrize("payload", ['{"a":"\\ud800"}', '{"a":1e999}', '{"a":' + "[" * 2000 + "]" * 2000 + "}"])
async def test_a_payload_that_cannot_be_decoded_fails_alone(rig: Rig, conn: Conn, payload: str) -> None:
    """Its neighbours are run; it is failed at once with the error, and kept as it was."""
    places = await put(conn, "{}", payload, "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    assert [row[0] for _, row in batch.remaining] == [places[0], places[2]]
    await rig.ledger.flush()
    assert await states(conn) == {places[0]: "running", places[1]: "failed", places[2]: "running"}
    rows = await ask(
        conn, "select payload::text, attempt, meta->'errors'->0->>'message' like '%%decoded%%' from fastq.finished"
    )
    assert rows == [(payload, 1, True)]


async def test_jobs_beside_a_bad_payload_are_not_said_to_be_done(rig: Rig, conn: Conn) -> None:
    """While a batch with one bad payload waits for a shard, a crash brings back all its good jobs."""
    places = await put(conn, "{}", "{}", '{"a":1e999}')
    await rig.claimer.step()
    await rig.ledger.flush()
    rig.hands.fed[0].claimed_at = 0.0  # it has waited long
    await rig.ledger.flush_parts()
    assert set(await states(conn)) == set(places)


async def test_an_ack_undone_by_a_crash_of_the_server_is_said_again(rig: Rig, conn: Conn) -> None:
    """A lease that comes back after it was acknowledged is acknowledged once more, and its jobs do not run again."""
    await put(conn, "{}", "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    await conn.execute("create temp table crash as select * from fastq.lease")
    batch.left = 0
    rig.ledger.finished(batch)
    await rig.ledger.flush()
    await conn.execute("insert into fastq.lease select * from crash")
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert rig.hands.fed == [batch]
    assert await ask(conn, "select id from fastq.lease") == []


async def test_of_an_adopted_lease_only_what_is_not_done_runs(rig: Rig, conn: Conn) -> None:
    """Jobs that are done, or completed in their own transactions, are left out; with the others the lease ends."""
    places = await put(conn, "{}", "{}", "{}")
    lease = (await take(conn, rig.worker)).lease
    await ack.ack_jobs(conn, shard=0, worker=rig.worker, jobs=[(lease, 0)])
    await completion.complete(conn, Place(0, lease, 2))
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    (batch,) = rig.hands.fed
    assert [row[0] for _, row in batch.remaining] == [places[1]]
    assert batch.left == 1


async def test_an_adopted_lease_without_work_is_acknowledged(rig: Rig, conn: Conn) -> None:
    """When everything in it is done there is only the ack to say."""
    await put(conn)
    lease = (await take(conn, rig.worker)).lease
    await completion.complete(conn, Place(0, lease, 0))
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    await rig.ledger.flush()
    assert rig.hands.fed == []
    assert await ask(conn, "select id from fastq.lease") == []
    assert await ask(conn, "select lease from fastq.progress") == []


async def test_what_was_refused_is_lost_and_not_tried_again(rig: Rig, conn: Conn) -> None:
    """Acks and settlements of a lease that was taken are counted as lost, once."""
    lost = rig.ledger._cell
    await put(conn, "{}", "{}", "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    await conn.execute("delete from fastq.lease")
    batch.left = 1
    rig.ledger.settle(batch, back(batch.lease, 2))
    await rig.ledger.flush()
    assert rig.ledger.clean
    assert await states(conn) == {}
    before = lost[Word.LOST]
    assert before >= 3
    await rig.ledger.flush()
    assert lost[Word.LOST] == before


async def test_settlements_before_acks(rig: Rig, conn: Conn) -> None:
    """A batch with a failed job is acknowledged only when that job has been written elsewhere."""
    places = await put(conn, "{}", "{}")
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    batch.left -= 1
    rig.ledger.settle(batch, back(batch.lease, 1))
    await rig.ledger.flush()
    assert await states(conn) == {places[1]: "ready"}
    assert not await ask(conn, "select id from fastq.lease")


async def test_parts_of_an_open_batch(rig: Rig, conn: Conn) -> None:
    """Jobs that a slow neighbour outlives are marked done, those running or waiting are not."""
    places = await put(conn, *["{}"] * 4)
    await rig.claimer.step()
    (batch,) = rig.hands.fed
    keys = [next(batch.remaining)[0] for _ in range(3)]
    rig.ledger._cell.running[0] = keys[1]
    batch.left -= 2
    batch.claimed_at = 0.0  # it is open for long
    await rig.ledger.flush_parts()
    assert set(await states(conn)) == {places[1], places[3]}
    await rig.ledger.flush_parts()
    assert await ask(conn, "select done from fastq.lease") == [([0, 2],)]


async def test_a_burst_ends_when_dry(dsn: str, conn: Conn) -> None:
    """In burst mode the claimer ends once nothing is left to claim, to run or to say."""
    await put(conn, "{}", "{}", lane=LANE)
    worker, link = await hire(conn), Link(dsn, "fastq test")
    ledger, hands = Ledger(link, Board(cells=1, running=4).cells[0], worker), Hands()
    config = WorkerConfig(target="", dsn=dsn, burst=True)
    claimer = Claimer(config, worker=worker, link=link, executor=hands, ledger=ledger)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await claimer.run()
    assert [batch.size for batch in hands.fed] == [2]
    await link.close()
    assert ids_of(await take(conn, worker)) == []
