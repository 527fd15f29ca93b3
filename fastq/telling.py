"""How far a job says that it has come: what it may say, and how often that is written."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from fastq.errors import UsageError

EVERY_S = 1.0
"""At most so often the progress of a job is written."""

NOTE_MOST = 200


class Telling:
    """The progress of one run. `due` says what is to be written now, if anything. No I/O."""

    def __init__(self) -> None:
        self._said: tuple[float, str] | None = None
        self._written_at = -math.inf

    def say(self, share: float, note: str) -> None:
        """Take what the handler says.

        Raises:
            UsageError: it is no share from 0 to 1, or no text.

        """
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise UsageError(f"progress is a number from 0 to 1, not {share!r:.80}")
        if not isinstance(note, str):
            raise UsageError(f"the note of a progress is a text, not {note!r:.80}")
        self._said = float(share), "".join(sign if sign.isprintable() else " " for sign in note[:NOTE_MOST])

    def due(self) -> tuple[float, str] | None:
        """Return what was said last, if it is not written yet and it is time; it counts as written then."""
        said, now = self._said, time.monotonic()
        if said is None or now < self._written_at + EVERY_S:
            return None
        self._said, self._written_at = None, now
        return said

    @property
    def rest_s(self) -> float | None:
        """In how many seconds what was said last is to be written; None if it is."""
        return None if self._said is None else max(0.0, self._written_at + EVERY_S - time.monotonic())


class Teller:
    """Has what a coroutine says written: by itself, or a moment later, when it came too soon."""

    def __init__(self, write: Callable[[float, str], Awaitable[None]]) -> None:
        self._telling = Telling()
        self._write = write
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Future[None]] = set()
        self._ended = False

    async def tell(self, share: float, note: str) -> None:
        """Take what the handler says, and write it if it is time; nothing once the run has ended."""
        self._telling.say(share, note)
        if self._ended:
            return
        self._look()
        if self._writing:
            await asyncio.wait(self._writing)

    def _look(self) -> None:
        """Write what is due, or look again when it is: a timer of uvloop may go off a millisecond early."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._telling.due()) is not None:
            writing = asyncio.ensure_future(self._write(*due))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        elif (rest_s := self._telling.rest_s) is not None:
            self._timer = asyncio.get_running_loop().call_later(max(rest_s, 0.001), self._look)

    async def ended(self) -> None:
        """Take back what is to be written later, and wait for what is being written: a row of progress that came while
        its lease is acknowledged would stay for ever.
        """
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._writing:
            await asyncio.wait(self._writing)
