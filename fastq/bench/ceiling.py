"""The ceiling: how fast jobs can be claimed and acknowledged when nobody decodes or runs them.

As many claimants as there are workers, one synchronous connection each, on the workers' own claim statement.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from fastq.bench.claimant import Orders
from fastq.bench.plan import BenchError

_END_S = 5.0


class Ceiling:
    """The claimants of one repetition, connected and registered, waiting for `run`."""

    def __init__(self, orders: Orders, processes: int) -> None:
        self._claimants: list[subprocess.Popen[bytes]] = []
        self.pids: list[int] = []
        self._orders = orders
        self._processes = processes

    def open(self) -> None:
        """Start the claimants and wait until each is registered as a worker."""
        for _ in range(self._processes):
            self._claimants.append(
                subprocess.Popen(
                    [sys.executable, "-m", "fastq.bench.claimant"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    process_group=0,
                )
            )
            self._tell(self._claimants[-1], orjson.dumps(self._orders))
        self.pids = [self._hear(claimant)["pid"] for claimant in self._claimants]

    def run(self) -> float:
        """Let them claim until nothing is left; return when the last one was done, by time.monotonic()."""
        for claimant in self._claimants:
            self._tell(claimant, b"go")
        return max(float(self._hear(claimant)["done_at"]) for claimant in self._claimants)

    def close(self) -> None:
        """End the claimants; may be called twice."""
        for claimant in self._claimants:
            if claimant.stdin is not None:
                claimant.stdin.close()
        for claimant in self._claimants:
            try:
                claimant.wait(_END_S)
            except subprocess.TimeoutExpired:
                claimant.kill()
                claimant.wait()
            if claimant.stdout is not None:
                claimant.stdout.close()

    def _tell(self, claimant: subprocess.Popen[bytes], line: bytes) -> None:
        assert claimant.stdin is not None
        claimant.stdin.write(line + b"\n")
        claimant.stdin.flush()

    def _hear(self, claimant: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert claimant.stdout is not None
        line = claimant.stdout.readline()
        if not line:
            raise BenchError("a process that measures the ceiling died; what it said stands above")
        words: dict[str, Any] = orjson.loads(line)
        return words


@contextmanager
def ready(orders: Orders, processes: int) -> Iterator[Ceiling]:
    """Give claimants that wait, and end them afterwards."""
    ceiling = Ceiling(orders, processes)
    try:
        ceiling.open()
        yield ceiling
    finally:
        ceiling.close()
