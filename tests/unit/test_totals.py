"""What all workers of a host have counted together, in words."""

from __future__ import annotations

import pytest

from fastq.host.board import Board, Word
from fastq.host.series import Count, SeriesTable
from fastq.observability.totals import SERIES_MOST, Totals, in_words

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


def test_names_may_be_anybodys() -> None:
    """Of workers that come and go with ever new ones a bounded number is told apart; the sums stay right."""
    board, totals = Board(cells=1, running=1), Totals()
    (cell,) = board.cells
    for worker in range(10):
        cell.clear()
        cell[Word.PID] = 100 + worker
        for n in range(60):
            SeriesTable(cell.series).of(f"q{worker}-{n}", "t").add(Count.CLAIMED)
        totals.observe(board.cells)
    found = totals.series()
    assert len(found) == SERIES_MOST
    assert sum(counted[Count.CLAIMED] for counted in found.values()) == 600


def test_the_number_of_short_runs_never_falls() -> None:
    """A long run is counted when it ends, its job when its whole batch is through: it takes no short one away."""
    board, totals = Board(cells=1, running=1), Totals()
    (cell,) = board.cells
    cell[Word.PID] = 100
    series = SeriesTable(cell.series).of("q", "t")
    seen = []
    for ended, longer in ((100, 10), (0, 5), (50, 0)):
        series.add(Count.SUCCEEDED, ended)
        if longer:
            series.ran(0.003, longer)
        totals.observe(board.cells)
        seen.append(totals.series()["q", "t"].ran[0])
    assert seen == [90, 90, 135]
