"""Leases that no claim wrote: whoever has a worker's rights can put any bytes there."""

from __future__ import annotations

import orjson
import pytest
from scene import Conn, ask, hire, put, states, take
from worker_rig import Rig

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.host.board import Board, Word, running_key
from fastq.protocol import packed, reap
from fastq.protocol.shards import Shards
from fastq.states import CellState
from fastq.steward.cancel import Canceller
from fastq.steward.leader import Leader

pytestmark = pytest.mark.protocol

DEEP = b"[" * 300 + b"]" * 300
FORGED = [
    b"",
    b"[]",
    b"{}",
    b"7",
    b"\xff\xfe\x00",
    b'"\\ud800"',
    b"[1,null]",
    b"[[1]]",
    DEEP,
    b"[" * 5000 + b"]" * 5000,
    b'[[1,"t",0,0,{}],7]',
    b'[[1,"t",0,0,' + DEEP + b"],7]",
    b'[["1","t",0,0,{}]]',
    b"[[1,2,0,0,{}]]",
    b'[[1,"\\u0000",0,0,{}]]',
    b'[[1,"t",40000,0,{}]]',
    b'[[1,"t",0,1e300,{}]]',
    b'[[99999999999999999999,"t",0,0,{}]]',
    b'[[1,"t",0,0,{},"id",{}]]',
    b'[[1,"t",0,0,{},2,[1]]]',
    b'[[1,"t",0,0,{},2,{"unreadable":7}]]',
    b'[[1,"t",0,0,{},2,{},5]]',
]
IDS = [text[:30].decode(errors="backslashreplace") for text in FORGED]


async def forge(conn: Conn, worker: int, batch: bytes, *, lease: int = 5, done: str = "{}") -> None:
    """Write a lease as a worker's rights allow."""
    await conn.execute(
        "insert into fastq.lease_1 (shard, id, worker, queue, priority, group_key, batch, done)"
        " values (0, %s, %s, 'default', 0, '', %s, %s)",
        (lease, worker, batch, done),
    )


@pytest.mark.parametrize("batch", FORGED, ids=IDS)
async def test_a_forged_lease_does_not_stop_its_reaper(conn: Conn, batch: bytes) -> None:
    """The dead worker's other jobs come back, and nothing of it is left."""
    (job,) = await put(conn, "{}")
    who = await hire(conn)
    await take(conn, who)
    await forge(conn, who, batch)
    end = Died(ran=False, cause="SIGKILL")
    await reap.reap(conn, shard=0, worker=who, verdict=lambda leased: conclude(leased, end), note=lambda *_: None)
    assert (await states(conn))[job] == "ready"
    assert await ask(conn, "select id from fastq.lease") == await ask(conn, "select id from fastq.worker") == []


@pytest.mark.parametrize("batch", FORGED, ids=IDS)
async def test_a_forged_lease_hides_no_job_from_people(conn: Conn, batch: bytes) -> None:
    """Whoever looks at the jobs sees all others."""
    who = await hire(conn)
    (job,) = await put(conn, "{}")
    await take(conn, who)
    await forge(conn, who, batch)
    assert (job, "running") in await ask(conn, "select id, state from fastq.job")
    assert await ask(conn, "select state from fastq.job where id = %s", job) == [("running",)]


@pytest.mark.parametrize("batch", FORGED, ids=IDS)
async def test_a_worker_adopts_a_forged_lease_and_lives(rig: Rig, conn: Conn, batch: bytes) -> None:
    """What is a job is run; what is none is kept as failed, with the reason; the lease ends."""
    await forge(conn, rig.worker, batch)
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    for fed in rig.hands.fed:
        for _ in fed.remaining:
            fed.left -= 1
        if not fed.left:
            rig.ledger.finished(fed)
    await rig.ledger.flush()
    kept = await ask(conn, "select state, meta -> 'errors' -> 0 ->> 'type' from fastq.job where state <> 'ready'")
    rows = orjson.loads(packed.repaired(batch) or batch)
    assert kept == [("failed", "Unreadable")] * len(packed.unreadable(rows))
    assert await ask(conn, "select id from fastq.lease") == []


@pytest.mark.parametrize("lease", [-1, 0, 2**63 - 1])
@pytest.mark.parametrize("done", ["{}", "{-1,7}", "{null}"])
async def test_a_lease_with_an_odd_number_is_left_to_the_reaper(rig: Rig, conn: Conn, lease: int, done: str) -> None:
    """It has no place on the board; no worker dies of it."""
    await forge(conn, rig.worker, b'[[1,"t",0,0,{}]]', lease=lease, done=done)
    rig.link.breaks += 1
    await rig.claimer.intake.adopt_if_due()
    assert rig.hands.fed == []


@pytest.mark.parametrize("batch", FORGED, ids=IDS)
def test_what_is_repaired_once_is_well(batch: bytes) -> None:
    """A repaired batch can be decoded and needs no other repair."""
    mended = packed.repaired(batch)
    whole = batch if mended is None else mended
    assert packed.repaired(whole) is None
    rows, bad = packed.decode(whole)
    assert all(map(packed.is_row, rows))
    assert not bad


async def test_a_mark_on_a_lease_without_keys_stops_no_cancellation(rig: Rig, conn: Conn, dsn: str) -> None:
    """The other marks reach their workers' letter boxes."""
    (job,) = await put(conn, "{}")
    lease = (await take(conn, rig.worker)).lease
    await forge(conn, rig.worker, b'[[1,"t",0,0,{}]]', lease=2**63 - 1)
    mark = "insert into fastq.cancellation (shard, job, lease, ord) values (0, %s, %s, 0)"
    await conn.execute(mark, [7, 2**63 - 1])
    await conn.execute(mark, [job, lease])
    board = Board(cells=1, running=1)
    cell = board.cells[0]
    cell[Word.WORKER_ID], cell.state = rig.worker, CellState.RUNNING
    leader = Leader(rig.link, holder="x")
    assert await Canceller(board, rig.link, leader, lease_s=30, shards=Shards(1)).step() == 1
    assert cell.collect() == [running_key(lease, 0)]
