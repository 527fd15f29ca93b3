"""Counts that processes leave for others to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastq.bench.tally import PRODUCER, WORKER, Tally, TallyBoard

pytestmark = pytest.mark.unit


def test_a_board_sums_the_counts_of_a_role(tmp_path: Path) -> None:
    """Producers and workers apart; a file that is not finished is not read."""
    (tmp_path / ".worker-1").touch()
    worker, producer, board = Tally(tmp_path, WORKER), Tally(tmp_path, PRODUCER), TallyBoard(tmp_path)
    worker.add()
    worker.add()
    producer.add(1000)
    assert (board.jobs(WORKER), board.jobs(PRODUCER)) == (2, 1000)
    worker.add()
    assert board.jobs(WORKER) == 3
    assert {path.name for path in tmp_path.iterdir()} == {
        ".worker-1",
        *(f"{r}-{os.getpid()}" for r in (WORKER, PRODUCER)),
    }


def test_notes_beyond_the_room_are_left_out(tmp_path: Path) -> None:
    """The first ones are kept, nothing is overwritten."""
    worker, board = Tally(tmp_path, WORKER, room=2), TallyBoard(tmp_path)
    for late_ns in (5, -7, 9):
        worker.note(late_ns)
    assert board.notes_ns(WORKER) == [5, -7]
    assert board.notes_ns(PRODUCER) == []
