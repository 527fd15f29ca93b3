"""A process of the bench's own: it gets lines on stdin, answers with lines of JSON, and ends when stdin is closed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import Any

import orjson

from fastq.bench.plan import BenchError

_END_S = 5.0


class Piped:
    """One `python -m module`, told its orders as the first line."""

    def __init__(self, module: str, orders: object) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        self.pid = self._process.pid
        self.tell(orjson.dumps(orders))

    def tell(self, line: bytes) -> None:
        """Send a line; to one that died it is lost, which `hear` finds out."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def hear(self, within_s: float | None = None) -> dict[str, Any]:
        """Return the next line.

        Raises:
            BenchError: it died, or said nothing within that time.

        """
        assert self._process.stdout is not None
        if within_s is not None and not select.select([self._process.stdout], [], [], within_s)[0]:
            raise BenchError(f"{self._module} did not answer within {within_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        words: dict[str, Any] = orjson.loads(line)
        return words

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self._process.poll() is not None:
            raise self._died()

    def _died(self) -> BenchError:
        code = self._process.wait(_END_S)
        return BenchError(f"{self._module} ended with exit code {code}; what it said stands above")

    def leave(self) -> None:
        """Close its stdin."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                return

    def close(self) -> None:
        """End it; may be called twice."""
        self.leave()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def say(**words: object) -> None:
    """Answer from inside such a process; end at once where nobody listens any more."""
    try:
        sys.stdout.buffer.write(orjson.dumps(words) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os._exit(1)
