"""The reaper on a real board and a real database: what is locked waits, everything else goes back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from scene import Conn, ask, expire, hire, ids_of, jobs_of, put, states, take, until_blocked

from fastq.host.board import Board, Word, running_key
from fastq.observability.totals import Totals
from fastq.postgres.link import Link
from fastq.protocol import completion
from fastq.protocol.completion import Place
from fastq.protocol.shards import Shards
from fastq.states import CellState
from fastq.steward.reaper import Reaper

pytestmark = pytest.mark.protocol


@pytest.fixture
async def link(dsn: str) -> AsyncIterator[Link]:
    """A link that does not wait long for a lock."""
    opened = Link(dsn, "fastq test", "set lock_timeout = '50ms'")
    yield opened
    await opened.close()


@pytest.fixture
def board() -> Board:
    """Two cells for two running jobs each."""
    return Board(cells=2, running=2)


def kill(board: Board, index: int, worker: int, *, running: int = 0) -> None:
    """Leave a cell as a killed worker leaves it."""
    cell = board.cells[index]
    cell[Word.PID], cell[Word.WORKER_ID], cell[Word.EXIT_STATUS] = 100 + index, worker, int(signal.SIGKILL)
    cell.running[0], cell[Word.SUCCEEDED], cell.state = running, 7, CellState.DEAD


async def test_a_locked_lease_waits_and_the_other_dead_do_not(
    conn: Conn, other: Conn, link: Link, board: Board
) -> None:
    """A dead cell whose lease a transaction holds stays dead, the next is freed; after the transaction it goes too."""
    (stuck,), (free,) = await put(conn), await put(conn)
    first, second = await hire(conn), await hire(conn)
    lease = (await take(conn, first, limit=1)).lease
    await take(conn, second)
    kill(board, 0, first)
    kill(board, 1, second)
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1))
    async with other.transaction():
        await completion.hold(other, Place(0, lease, 0))
        await reaper.step()
        assert [cell.state for cell in board.cells] == [CellState.DEAD, CellState.FREE]
        assert await states(conn) == {stuck: "running", free: "ready"}
    await reaper.step()
    assert board.cells[0].state is CellState.FREE
    assert await states(conn) == {stuck: "ready", free: "ready"}
    assert link.breaks == 0


async def test_a_statement_timeout_of_the_role_is_no_endless_retry(conn: Conn, other: Conn, dsn: str) -> None:
    """Where the server's own timeout ends the wait for the lock, the reap waits for the next round as well."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await expire(conn, who)
    link = Link(dsn, "fastq test", "set statement_timeout = '50ms'")
    reaper = Reaper(Board(cells=1, running=1), link, lease_s=30.0, shards=Shards(1))
    async with asyncio.timeout(10):
        async with other.transaction():
            await completion.hold(other, Place(0, lease, 0))
            await reaper.step_expired()
        while await ask(conn, "select state from fastq.job") != [("ready",)]:
            await reaper.step_expired()
    await link.close()


async def test_a_worker_in_a_transaction_of_its_own_may_complete_before_it_is_reaped(
    conn: Conn, other: Conn, link: Link, board: Board
) -> None:
    """The job whose completion held the lease is not run again once that has committed."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    claimed = await take(conn, who)
    _, second = ids_of(claimed)
    kill(board, 0, who)
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1))
    async with other.transaction():
        await completion.hold(other, Place(0, claimed.lease, 0))
        await reaper.step()
        await completion.complete(other, Place(0, claimed.lease, 0))
    await reaper.step()
    assert await states(conn) == {second: "ready"}


async def test_steps_at_the_same_time_reap_once(conn: Conn, link: Link, board: Board) -> None:
    """The doorbell, the lease's end and the last rites share one connection: none stands in another's transaction."""
    places = await put(conn, *["{}"] * 20)
    who, expired = await hire(conn), await hire(conn)
    await take(conn, who, limit=10)
    await take(conn, expired, limit=10)
    await expire(conn, expired)
    kill(board, 0, who)
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1))
    await asyncio.gather(reaper.step(), reaper.step_expired(), reaper.step(), reaper.step_expired())
    assert await states(conn) == dict.fromkeys(places, "ready")
    assert link.breaks == 0


async def test_a_living_worker_of_this_host_whose_lease_ended_is_charged_for_nothing(
    conn: Conn, link: Link, board: Board
) -> None:
    """After an outage longer than the lease nothing has crashed; of another host's worker nobody knows that."""
    await put(conn, "{}", "{}")
    here, there = await hire(conn), await hire(conn)
    claimed = await take(conn, here, limit=1)
    await take(conn, there)
    await expire(conn, here, there)
    cell = board.cells[0]
    cell[Word.WORKER_ID], cell.running[0] = here, running_key(claimed.lease, 0)
    cell.state = CellState.RUNNING
    await Reaper(board, link, lease_s=30.0, shards=Shards(1)).step_expired()
    metas = [row[6] for row in jobs_of(await take(conn, await hire(conn)))]
    assert metas[0] is None
    assert metas[1]["crashes"] == 1


async def test_a_dead_worker_of_this_host_is_not_taken_for_one_that_is_gone(
    conn: Conn, link: Link, board: Board
) -> None:
    """That its lease ended before its cell was reaped does not charge what it was not running."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    claimed = await take(conn, who)
    await expire(conn, who)
    kill(board, 0, who, running=running_key(claimed.lease, 0))
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1))
    await reaper.step_expired()
    await reaper.step()
    ran, waited = jobs_of(await take(conn, await hire(conn)))
    assert ran[6]["crashes"] == 1
    assert waited[6] is None


async def test_a_dead_workers_counters_are_seen_before_its_cell_is_cleared(
    conn: Conn, link: Link, board: Board
) -> None:
    """What it had counted stays in the totals of its cell."""
    kill(board, 0, await hire(conn))
    totals = Totals()
    await Reaper(board, link, lease_s=30.0, shards=Shards(1), totals=totals).step()
    assert board.cells[0][Word.SUCCEEDED] == 0
    assert totals.by_cell()[0][Word.SUCCEEDED] == 7


async def test_who_waited_through_an_outage_reaps_nobody(conn: Conn, dsn: str, board: Board) -> None:
    """Heartbeats were steady when it asked who has expired, and are not when the answer comes: nobody is reaped."""
    (job,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)
    await expire(conn, who)
    link = Link(dsn, "fastq test")
    backend = (await link.open()).info.backend_pid
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1), steady=lambda: link.breaks == 0)
    await conn.execute("select pg_terminate_backend(%s)", [backend])
    await reaper.step_expired()
    assert link.breaks
    assert await states(conn) == {job: "running"}
    await link.close()


async def test_who_waited_for_a_lock_through_an_outage_reaps_nobody(
    conn: Conn, other: Conn, dsn: str, board: Board
) -> None:
    """What is known when the worker's row is locked decides, not what was known when the lock was asked for."""
    (job,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)
    await expire(conn, who)
    link, steady = Link(dsn, "fastq test"), True
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1), steady=lambda: steady)
    waiter = await link.open()
    async with other.transaction():
        await other.execute("select from fastq.worker for key share")
        stepping = asyncio.create_task(reaper.step_expired())
        await until_blocked(conn, waiter)
        steady = False
    await stepping
    assert await states(conn) == {job: "running"}
    steady = True
    await reaper.step_expired()
    assert await states(conn) == {job: "ready"}
    await link.close()


async def test_what_a_dead_worker_ran_is_told_of_and_counted(
    conn: Conn, link: Link, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning for each death, an error for the third; jobs that merely waited are returned without a word."""
    running, _waiting = await put(conn, "{}", "{}")
    reaper = Reaper(board, link, lease_s=30.0, shards=Shards(1))
    for failed in (0, 0, 1):
        who = await hire(conn)
        claimed = await take(conn, who)
        place = ids_of(claimed).index(running)
        kill(board, 0, who, running=running_key(claimed.lease, place))
        await reaper.step()
        assert [record.levelname for record in caplog.records] == ["ERROR" if failed else "WARNING"]
        assert f"job {running} of " in caplog.text
        assert "WorkerDied: the worker process ended by SIGKILL" in caplog.text
        caplog.clear()
    counts = {word: board.house[word] for word in (Word.FAILED, Word.RETRIED, Word.RETURNED)}
    assert counts == {Word.FAILED: 1, Word.RETRIED: 2, Word.RETURNED: 3}
