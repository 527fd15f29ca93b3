"""How many jobs to claim. Pure.

Enough for the free slots and for a few milliseconds of work at the measured rate, so that slots never starve and no
worker hoards what another could run: with jobs of 30 seconds the rate is nearly nothing and only free slots count.

A claim takes as long as the database is far away. Meanwhile there has to be work here, and what one claim brings has to
last until the next one comes: so both grow with the distance, which then costs latency and not throughput.
"""

from __future__ import annotations

from collections import deque

from fastq.config import MOST_BATCH

_MEMORY = 0.7
_WINDOW_S = 0.005

_CAREER_S = 3.0
"""How long jobs take is judged by those of about so long a time."""

AHEAD_TRIPS = 3
"""Work for so many round trips is claimed ahead: a claim begins when a quarter of it is gone, then has its own trip to
make, and an ack or a look may be in its way."""

FAR_MOST_S = 0.25
"""Whatever takes longer is no distance but trouble, for which nothing is claimed ahead."""

NEAR_S = 0.01
"""A database that answers within this time is near: `batch_size` jobs are enough for a claim."""

SOON_S = 0.05

PACKED_MOST = 16
"""So many times `batch_size` are the jobs of a claim of packets: its cost is that of its rows."""

_TRIPS = 20
"""Of so many claims the quickest tells the distance; the others had more to carry, or waited for a CPU."""


class Demand:
    """Measures the rate at which jobs finish and how far the database is, and turns them into claim sizes."""

    def __init__(self, *, batch_size: int, prefetch_s: float) -> None:
        self._batch_size = batch_size
        self._prefetch_s = prefetch_s
        self._rate = 0.0
        self._seen = 0
        self._seen_at = 0.0
        self._busy = 0
        self._ended = 0.0
        self._worked_s = 0.0
        self._trips: deque[float] = deque(maxlen=_TRIPS)
        self._packed = 1.0
        self.distance_s = 0.0

    @property
    def rate(self) -> float:
        """Jobs finished per second, lately."""
        return self._rate

    def measure(self, finished: int, now: float, *, busy: int = 0) -> None:
        """Note that `finished` jobs have finished in all by the time `now` (seconds, any clock), and `busy` run.

        At a distance jobs end in bursts, one for each claim: so no shorter time than that of a claim is looked at.
        """
        passed = now - self._seen_at
        if passed < max(_WINDOW_S, self.distance_s):
            return
        ended = finished - self._seen
        fresh = ended / passed
        self._rate = fresh if passed > 1.0 else _MEMORY * self._rate + (1 - _MEMORY) * fresh
        kept = max(0.0, 1 - passed / _CAREER_S)
        self._ended = kept * self._ended + ended
        self._worked_s = kept * self._worked_s + min(busy, self._busy) * min(passed, _CAREER_S)
        self._seen, self._seen_at, self._busy = finished, now, busy

    def _lasting(self, slots: int) -> float:
        """Return the rate without what cannot last: many long jobs that end at once say nothing of those to come."""
        if not self._worked_s:
            return self._rate
        return min(self._rate, slots * self._ended / self._worked_s)

    def claimed(self, took_s: float) -> None:
        """Note how long a claim took, from the question to the answer."""
        self._trips.append(took_s)
        self.distance_s = min(FAR_MOST_S, *self._trips)

    def came(self, jobs_per_row: float) -> None:
        """Note how many jobs a row stood for in the last claim: of packets a claim has many at little more cost."""
        self._packed = min(PACKED_MOST, max(1.0, jobs_per_row))

    @property
    def most(self) -> int:
        """The most jobs of one claim."""
        size = int(self._batch_size * self._packed)
        return max(size, min(MOST_BATCH, int(size * self.distance_s / NEAR_S)))

    @property
    def soon(self) -> int:
        """How many jobs are through within a moment: a packet of no more is not worth parting."""
        return int(self._rate * SOON_S)

    def want(self, *, free: int, waiting: int, busy: int = 0) -> int:
        """Return how many jobs to claim with `free` idle slots, `busy` others and `waiting` claimed jobs not started.

        0 is none yet: while jobs wait, a claim is worth its round trip only once a quarter of the target is open.
        """
        ahead_s = self._prefetch_s + AHEAD_TRIPS * self.distance_s if self._prefetch_s else 0.0
        target, most = free + int(self._lasting(free + busy) * ahead_s), self.most
        wanted = min(target - waiting, most)
        if wanted <= 0 or (waiting and wanted < min(most, target) // 4):
            return 0
        return wanted
