"""How many jobs to claim. Pure.

Enough for the free slots and for a few milliseconds of work at the measured rate, so that slots never starve and no
worker hoards what another could run: with jobs of 30 seconds the rate is nearly nothing and only free slots count.
"""

from __future__ import annotations

_MEMORY = 0.7
_WINDOW_S = 0.005


class Appetite:
    """Measures the rate at which jobs finish and turns it into claim sizes."""

    def __init__(self, *, batch_size: int, prefetch_s: float) -> None:
        self._batch_size = batch_size
        self._prefetch_s = prefetch_s
        self._rate = 0.0
        self._seen = 0
        self._seen_at = 0.0

    @property
    def rate(self) -> float:
        """Jobs finished per second, lately."""
        return self._rate

    def measure(self, finished: int, now: float) -> None:
        """Note that `finished` jobs have finished in all by the time `now` (seconds, any clock)."""
        passed = now - self._seen_at
        if passed < _WINDOW_S:
            return
        fresh = (finished - self._seen) / passed
        self._rate = fresh if passed > 1.0 else _MEMORY * self._rate + (1 - _MEMORY) * fresh
        self._seen, self._seen_at = finished, now

    def want(self, *, free: int, waiting: int) -> int:
        """Return how many jobs to claim with `free` idle slots and `waiting` claimed jobs not started; 0 is none yet.

        While jobs wait, a claim is worth its round trip only once a quarter of the target is open.
        """
        target = free + int(self._rate * self._prefetch_s)
        wanted = min(target - waiting, self._batch_size)
        if wanted <= 0 or (waiting and wanted < min(self._batch_size, target) // 4):
            return 0
        return wanted
