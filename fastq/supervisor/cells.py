"""How many cells a board needs, how large they are, and which of them a new worker may take.

A dead worker's cell is not free until the steward has given its leases back, and a rolling replacement has two
workers in one seat for a while; so there are twice as many cells as seats, and some to grow into. Nothing on a board
grows once there are children.
"""

from __future__ import annotations

from collections.abc import Collection

from fastq.host.board import Board, Cell, Word
from fastq.states import CellState
from fastq.supervisor.exits import Exit

_ROOM_TO_GROW = 8
_MOST_ROOM_TO_GROW = 64
_RUNNING_TO_GROW = 1000
_TIMES_TO_GROW = 4


def cells_for(processes: int) -> int:
    """Return how many cells a board for `processes` workers should have."""
    return 2 * (processes + min(max(processes, _ROOM_TO_GROW), _MOST_ROOM_TO_GROW))


def room_for(concurrency: int) -> int:
    """Return how many running jobs the cell of a worker should have room for that begins with so many at once."""
    return max(concurrency, _RUNNING_TO_GROW, min(_TIMES_TO_GROW * concurrency, 10_000))


def most_seats(cells: int) -> int:
    """Return how many seats a board with so many cells can serve: the bound of TTIN and of `fastq.resize()`."""
    return max(1, cells // 2)


def choose(board: Board, held: Collection[int], after: int = -1) -> Cell | None:
    """Return a free cell that no live process holds, or None; the next one after cell `after`, going round.

    A worker sets its cell FREE a moment before it is gone; until it has been reaped its cell may not be reused,
    or its death would be written over its successor. Going round leaves the steward time to read its counters.
    """
    free = [cell for cell in board.cells if cell.index not in held and cell.state is CellState.FREE]
    return min(free, key=lambda cell: (cell.index <= after, cell.index), default=None)


def prepare(cell: Cell, cpu: int | None) -> None:
    """Make the cell ready for a worker that is about to be forked. CPU -1 means not pinned."""
    cell.clear()
    cell[Word.CPU] = -1 if cpu is None else cpu
    cell.state = CellState.STARTING


def was_ready(cell: Cell) -> bool:
    """Tell whether the worker got as far as RUNNING."""
    return cell.state in (CellState.RUNNING, CellState.DRAINING)


def progressed(cell: Cell) -> bool:
    """Tell whether the worker settled at least one job."""
    return any(cell[word] for word in (Word.SUCCEEDED, Word.FAILED, Word.RETRIED))


def close(board: Board, cell: Cell, end: Exit) -> bool:
    """Note a worker's death in its cell; return whether it was clean.

    Clean is: exit code 0 and the cell set FREE by the worker itself. Everything else is DEAD, and the steward is
    told, because leases may be left. The status is written before the state that makes others read it.
    """
    if end.status == 0 and cell.state is CellState.FREE:
        return True
    cell[Word.EXIT_STATUS] = end.status
    cell.state = CellState.DEAD
    board.steward_doorbell.ring()
    return False
