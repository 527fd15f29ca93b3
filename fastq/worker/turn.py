"""How many jobs a slot runs before it lets other callbacks in."""

from __future__ import annotations

_MOST = 256
_SHORT_S, _LONG_S = 0.0005, 0.002


class Turn:
    """So many `jobs` that a turn takes about a millisecond, however long they are."""

    def __init__(self) -> None:
        self.jobs = 32

    def took(self, seconds: float) -> None:
        """Note how long the last turn took."""
        if seconds < _SHORT_S:
            self.jobs = min(_MOST, self.jobs * 2)
        elif seconds > _LONG_S:
            self.jobs = max(1, self.jobs // 2)
