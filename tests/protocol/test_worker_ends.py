"""A worker's acks and settlements: said once, again after a crash of the server, refused ones are lost."""

from __future__ import annotations

import asyncio

import pytest
from scene import LANE, Conn, ask, back, hire, ids_of, put, states, take
from worker_rig import Hands, Rig

from fastq.config import WorkerConfig
from fastq.host.board import Board, Word
from fastq.postgres.link import Link
from fastq.protocol import ack, completion
from fastq.protocol.completion import Place
from fastq.worker.claimer import Claimer
from fastq.worker.ledger import Ledger

pytestmark = pytest.mark.protocol


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
