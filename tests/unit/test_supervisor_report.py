"""The seat table in words."""

from __future__ import annotations

import pytest

from fastq.host.board import Board, Word
from fastq.states import CellState
from fastq.supervisor import report
from fastq.supervisor.policy import Record, RestartPolicy
from fastq.supervisor.post import Post
from fastq.supervisor.seats import SeatTable, Worker

pytestmark = pytest.mark.unit


def test_report_shows_every_seat_and_every_worker() -> None:
    """Serving, with a successor, empty, finished, and those that lost their seat."""
    table, board, post = SeatTable(3, (), RestartPolicy()), Board(cells=4, running=1), Post()
    post.take(99, 0.0)
    workers = [Worker(pid=pid, seat=0, cell=pid, spawned_at=0.0) for pid in range(3)]
    table.place(table.seats[0], workers[0])
    table.place(table.seats[0], workers[1])
    table.workers[2] = workers[2]
    board.cells[0].state, board.cells[0][Word.STOPPED] = CellState.RUNNING, 1
    table.seats[1].record, table.seats[1].respawn_at = Record(failures=3), 12.5
    table.seats[2].finished = True
    lines = list(report.lines(table, post, board, 10.0))
    counters = "up 10.0 s, running 0, claimed 0, succeeded 0, failed 0"
    assert lines == [
        "steward: 99",
        f"seat 0: worker 0, cell 0 RUNNING (stopped), {counters}; successor: worker 1, cell 1 FREE, {counters}",
        "seat 1: empty, 3 failures, next worker in 2.5 s",
        "seat 2: finished",
        f"leaving: worker 2, cell 2 FREE, {counters}",
    ]
