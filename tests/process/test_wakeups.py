"""Who is woken when jobs come: one idle worker, then as many as there is work for."""

from __future__ import annotations

import asyncio
import select

import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, told, wait_empty, wait_told

from fastq.host.board import Board, Word
from fastq.states import CellState
from fastq.steward.bell import Bell

pytestmark = pytest.mark.process


@pytest.fixture
def board() -> Board:
    """Give a host with three workers."""
    board = Board(cells=4, running=1)
    for cell in board.cells[:3]:
        cell.state = CellState.RUNNING
    return board


def rung(board: Board) -> list[int]:
    """Return whose doorbells have been rung."""
    return [n for n, bell in enumerate(board.doorbells) if select.select([bell.fd], [], [], 0)[0]]


async def test_the_idlest_is_woken(board: Board) -> None:
    """Of a busy one, one that could run more and one that runs nothing, the last."""
    board.cells[0][Word.IDLE], board.cells[2][Word.IDLE] = 1, 2
    Bell(board).ring()
    assert rung(board) == [2]


async def test_all_are_woken_when_none_is_idle(board: Board) -> None:
    """They look when they have run what they have; a cell without a worker is not one of them."""
    board.cells[3][Word.IDLE] = 2
    Bell(board).ring()
    assert rung(board) == [0, 1, 2]


async def test_the_others_are_woken_when_the_first_does_not_wake(board: Board) -> None:
    """Its event loop may be held up by a handler."""
    board.cells[1][Word.IDLE] = 1
    Bell(board).ring()
    assert rung(board) == [1]
    heard = asyncio.Event()
    asyncio.get_running_loop().add_reader(board.doorbells[0].fd, heard.set)
    async with asyncio.timeout(10):
        await heard.wait()
    asyncio.get_running_loop().remove_reader(board.doorbells[0].fd)
    assert rung(board) == [0, 1, 2]


async def test_the_others_sleep_on_when_the_first_wakes(board: Board) -> None:
    """Also when it is idle again by the time at which that is looked at."""
    cell = board.cells[1]
    cell[Word.IDLE] = 2
    bell = Bell(board)
    bell.ring()
    woken, cell[Word.WOKEN] = cell[Word.WOKEN], cell[Word.WOKEN] + 1
    bell._look(cell, woken)
    assert rung(board) == [1]


def test_a_crowd_of_jobs_wakes_a_crowd(dsn: str, db: Db) -> None:
    """With polls a minute apart, one NOTIFY has four workers run one job each: each that finds more wakes the next."""
    with Fleet(dsn, "-c", "1", "--poll-interval", "60", processes=4):
        enqueue(handlers.quick.job(n=0))
        wait_empty(db)
        enqueue(*(handlers.gated.job(n=n) for n in range(4)))
        wait_told(db, "started", 4)
        pids = {row[0] for row in db.execute("select pid from probe where what = 'started'").fetchall()}
        assert len(pids) == 4
        db.execute("insert into gate values (true)")
        wait_empty(db)
    assert sorted(map(int, told(db, "finished"))) == list(range(4))


def test_a_worker_whose_loop_is_held_up_holds_up_nobody(dsn: str, db: Db) -> None:
    """With polls a minute apart, a job that comes while a handler blocks an event loop runs in the other worker."""
    with Fleet(dsn, "--poll-interval", "60", processes=2):
        enqueue(handlers.holding.job(n=0))
        wait_told(db, "holding")
        for n in range(10):
            enqueue(handlers.quick.job(n=n))
            until("the job to run", lambda n=n: str(n) in told(db, "quick"))
        assert told(db, "let go") == []
        db.execute("insert into gate values (true)")
        wait_empty(db)
