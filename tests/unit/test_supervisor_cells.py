"""The cells of the board as the supervisor takes and closes them."""

from __future__ import annotations

import pytest

from fastq.host.board import Board, Word
from fastq.states import CellState
from fastq.supervisor import cells
from fastq.supervisor.exits import Exit

pytestmark = pytest.mark.unit


@pytest.fixture
def board() -> Board:
    """A board of three cells."""
    return Board(cells=3, running=2)


@pytest.mark.parametrize("processes", [1, 2, 8, 100])
def test_there_are_cells_for_a_whole_roll_of_dead_and_for_growth(processes: int) -> None:
    """Every seat may have a dead cell beside its live one, and as many seats more may come: 8 at least, 64 at most."""
    assert cells.cells_for(processes) >= 2 * processes
    assert cells.most_seats(cells.cells_for(processes)) == processes + min(max(8, processes), 64)


def test_choose_skips_cells_in_use_and_cells_that_a_dying_process_still_holds(board: Board) -> None:
    """A worker frees its cell before it is reaped: the cell is not free yet."""
    board.cells[0].state = CellState.DEAD
    chosen = cells.choose(board, {1})
    assert chosen is not None
    assert chosen.index == 2
    assert cells.choose(board, {1, 2}) is None


def test_choose_goes_round_so_that_a_cell_just_left_is_used_last(board: Board) -> None:
    """The steward reads a leaver's counters before they are cleared for the next one."""
    order = [cells.choose(board, set(), after=last) for last in (-1, 0, 1, 2)]
    assert [cell and cell.index for cell in order] == [0, 1, 2, 0]


def test_prepare_leaves_nothing_of_the_last_worker(board: Board) -> None:
    """All words are new, the running table too."""
    cell = board.cells[0]
    cell[Word.SUCCEEDED], cell.running[1] = 7, 99
    cells.prepare(cell, None)
    assert (cell[Word.SUCCEEDED], cell.running_jobs(), cell.state, cell[Word.CPU]) == (0, [], CellState.STARTING, -1)
    cells.prepare(cell, 3)
    assert cell[Word.CPU] == 3


@pytest.mark.parametrize(
    ("status", "state", "clean"),
    [
        (0, CellState.FREE, True),
        (0, CellState.DRAINING, False),
        (1 << 8, CellState.FREE, False),
        (9, CellState.RUNNING, False),
    ],
)
def test_close_is_clean_only_for_exit_0_with_a_freed_cell(
    board: Board, status: int, state: CellState, clean: bool
) -> None:
    """Everything else is DEAD, with the status in the cell, and rings the steward."""
    cell = board.cells[0]
    cell.state = state
    assert cells.close(board, cell, Exit(status)) is clean
    assert cell.state is (CellState.FREE if clean else CellState.DEAD)
    assert cell[Word.EXIT_STATUS] == (0 if clean else status)
