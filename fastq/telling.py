"""How far a job says that it has come: what it may say, and how often that is written. No I/O."""

from __future__ import annotations

import math
import time

from fastq.errors import UsageError

EVERY_S = 1.0
"""At most so often the progress of a job is written."""

NOTE_MOST = 200


class Telling:
    """The progress of one run. `due` says what is to be written now, if anything."""

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
        told = "".join(sign if sign.isprintable() else " " for sign in note[:NOTE_MOST])
        self._said = float(share), told.encode("utf-8", "replace").decode()

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
