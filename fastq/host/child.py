"""What a child of the supervisor is told: what to run, and what it shares with its parent. Values only.

The code that makes a child is in `spawn.py`; the code that a child runs is named by its entry and is imported
after the fork, so that the parent never holds psycopg, uvloop or the user's app.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from fastq.host.board import Board, Cell

C_co = TypeVar("C_co", covariant=True)


class Kind(StrEnum):
    """Which of the two kinds of children."""

    WORKER = "worker"
    STEWARD = "steward"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEntry(Generic[C_co]):
    """`path` is "module:function"; the child imports the module and calls the function with a `Child`.

    The int that the function returns is the exit code of the process.
    """

    path: str
    config: C_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Child(Generic[C_co]):
    """The only argument of an entry function.

    `lifeline_fd` becomes readable (EOF) when the supervisor is gone: drain then. `cell_index` is None for the
    steward, which looks at all cells of the board.
    """

    kind: Kind
    cell_index: int | None
    board: Board
    lifeline_fd: int
    config: C_co

    @property
    def cell(self) -> Cell:
        """The worker's own cell of the board."""
        assert self.cell_index is not None, "the steward has no cell of its own"
        return self.board.cells[self.cell_index]
