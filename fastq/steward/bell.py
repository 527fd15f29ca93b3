"""Wakes workers of this host when there may be jobs: one that is idle, which wakes the next if it finds many."""

from __future__ import annotations

import asyncio

from fastq.host.board import Board, Cell, Word

ANSWER_S = 0.005
"""A worker that has not woken by then has a handler on its event loop; the others are woken instead."""


class Bell:
    """Rings as few workers as will do: each that wakes costs its claim, and CPU that the first one needs."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._waiting: asyncio.TimerHandle | None = None

    def ring(self) -> bool:
        """There may be new jobs; tells whether a worker was idle."""
        cell = self._board.ring_idle()
        if cell is None:
            self._board.ring_workers()  # they look once they have run what they have
        elif self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(ANSWER_S, self._look, cell, cell[Word.WOKEN])
        return cell is not None

    def _look(self, cell: Cell, woken: int) -> None:
        self._waiting = None
        if cell[Word.WOKEN] == woken:
            self._board.ring_workers()
