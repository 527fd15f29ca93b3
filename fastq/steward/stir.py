"""Whether anything happens in the fleet: notifications tell, as long as this host hears them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

from fastq.host.board import Board, Word

QUIET_AFTER_S = 10.0
"""So long after the last notification everybody looks as often as if there were some."""


class Stir:
    """Lets whoever looks again and again look rarely while nothing happens, and at once when something does."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board
        self._heard_at = monotonic()
        self._next = asyncio.Event()

    @property
    def listening(self) -> bool:
        """Whether this host hears notifications; its workers see it on the board."""
        return self._board is not None and bool(self._board.house[Word.LISTENS])

    @listening.setter
    def listening(self, value: bool) -> None:
        if self._board is not None:
            self._board.house[Word.LISTENS] = int(value)

    def heard(self) -> None:
        """Something happens."""
        self._heard_at = monotonic()
        self._next.set()
        self._next = asyncio.Event()

    @property
    def quiet(self) -> bool:
        """Whether nothing has happened for a while, as far as notifications tell."""
        return self.listening and monotonic() - self._heard_at > QUIET_AFTER_S

    async def pause(self, seconds: float, *, quiet_s: float) -> None:
        """Wait so many seconds; while it is quiet `quiet_s`, or until something happens."""
        if not self.quiet:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(quiet_s):
                await self._next.wait()
