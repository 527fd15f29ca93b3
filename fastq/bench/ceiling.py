"""The ceiling: how fast jobs can be claimed and acknowledged when nobody decodes or runs them.

As many claimants as there are workers, one synchronous connection each, on the workers' own claim statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastq.bench.claimant import ClaimantOrders
from fastq.bench.piped import Piped


class Ceiling:
    """The claimants of one repetition, connected and registered, waiting for `run`."""

    def __init__(self, orders: ClaimantOrders, processes: int) -> None:
        self._claimants: list[Piped] = []
        self.pids: list[int] = []
        self._orders = orders
        self._processes = processes

    def open(self) -> None:
        """Start the claimants and wait until each is registered as a worker."""
        for _ in range(self._processes):
            self._claimants.append(Piped("fastq.bench.claimant", self._orders))
        for claimant in self._claimants:
            claimant.hear()
        self.pids = [claimant.pid for claimant in self._claimants]

    def run(self) -> float:
        """Let them claim until nothing is left; return when the last one was done, by time.monotonic()."""
        return max(float(words["done_at"]) for words in self._answers())

    def claim(self) -> tuple[int, list[float]]:
        """Let each make as many claims as its orders say; return the jobs, and what each claim took in µs."""
        answers = self._answers()
        return sum(words["jobs"] for words in answers), [took for words in answers for took in words["took_us"]]

    def _answers(self) -> list[dict[str, Any]]:
        for claimant in self._claimants:
            claimant.tell(b"go")
        return [claimant.hear() for claimant in self._claimants]

    def close(self) -> None:
        """End the claimants; may be called twice."""
        for claimant in self._claimants:
            claimant.leave()
        for claimant in self._claimants:
            claimant.close()


@contextmanager
def ready(orders: ClaimantOrders, processes: int) -> Iterator[Ceiling]:
    """Give claimants that wait, and end them afterwards."""
    ceiling = Ceiling(orders, processes)
    try:
        ceiling.open()
        yield ceiling
    finally:
        ceiling.close()
