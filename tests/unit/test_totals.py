"""What all workers of a host have counted together, in words."""

from __future__ import annotations

import pytest

from fastq.host.board import Board, Word
from fastq.observability.totals import Totals, in_words

pytestmark = pytest.mark.unit


def test_the_sum_is_over_all_cells_and_the_house() -> None:
    """Workers that are gone, those that took their cells, and the steward's verdicts are counted once each."""
    board, totals = Board(cells=2, running=1), Totals()
    for cell, pid, done in ((board.cells[0], 11, 3), (board.cells[1], 12, 1000), (board.cells[0], 13, 4)):
        cell.clear()
        cell[Word.PID], cell[Word.SUCCEEDED], cell[Word.LOST] = pid, done, 1
        totals.observe([cell])
    board.house[Word.FAILED] = 2
    totals.observe([board.house])
    board.house[Word.FAILED] = 3
    totals.observe([board.house])
    assert in_words(totals.sum()) == "1,007 succeeded, 3 failed, 0 retried, 0 returned, 3 lost"


def test_nothing_seen_is_nothing_counted() -> None:
    """A host whose workers never started has zeros."""
    assert in_words(Totals().sum()) == "0 succeeded, 0 failed, 0 retried, 0 returned, 0 lost"
