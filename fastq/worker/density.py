"""How many rows of ready a claim needs for its jobs: a row stands for one job or for many. Pure."""

from __future__ import annotations

from fastq.protocol.claim import Claimed

MOST_QUEUES = 1000


class Density:
    """The jobs per row of each queue, as its last claim had them.

    A claim locks the rows that it looks at, for the moment that it takes: of packets it should look at few.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, float] = {}

    def rows(self, queue: str, limit: int) -> int:
        """Return how many rows to look at for up to `limit` jobs."""
        return max(1, min(limit, 1 + int(limit / self._jobs.get(queue, 1.0))))

    def measure(self, queue: str, jobs: int, claimed: Claimed) -> float:
        """Note how many jobs a claim gave; returns how many a row stands for."""
        if jobs:
            if len(self._jobs) >= MOST_QUEUES:
                self._jobs.clear()
            single = 0 if claimed.batch is None else jobs - sum(packet.jobs for packet in claimed.packets)
            self._jobs[queue] = jobs / max(1, single + len(claimed.packets))
        return self._jobs.get(queue, 1.0)
