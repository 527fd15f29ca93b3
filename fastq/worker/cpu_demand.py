"""How much CPU the event loop and the threads of handlers could use, and how many threads that is worth.

CPython runs one thread at a time, and a pinned worker has one CPU. Threads that wait (for a socket, a disk, a lock)
overlap and cost nothing; threads that compute take the interpreter from each other and from the event loop, and get no
more done. `benchmarks/threads.py` measures both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_CROWDED = 0.95
_OPEN = 0.9
_OURS_AT_LEAST = 0.4


class CpuDemand(NamedTuple):
    """CPUs' worth of time that was used or waited for in the run queue, by the loop and by the handlers' threads.

    Waiting for the interpreter is no demand: threads that compute want one CPU together, however many they are. Waiting
    for a CPU that other programs use is: so a busy machine looks the same as an idle one.
    """

    loop: float
    handlers: float


def threads_worth(now: int, demand: CpuDemand, *, waiting: bool, least: int, most: int) -> int:
    """Return how many threads should take jobs, when it was `now` and jobs were `waiting` for one or not.

    A quarter fewer while they crowd the CPU; where they leave it idle, as many as would fill it at this rate. Where the
    loop is what keeps it busy, there is nothing to gain from fewer.
    """
    wanted = demand.loop + demand.handlers
    if wanted >= _CROWDED and demand.handlers >= _OURS_AT_LEAST:
        return max(least, now - max(1, now // 4))
    if waiting and (wanted < _OPEN or demand.handlers < _OURS_AT_LEAST):
        return max(now, min(most, max(now + 1, int(now * _OPEN / max(demand.handlers, 0.01)))))
    return now


class CpuMeter:
    """Reads the demand between one look and the next; made and used in the event loop's thread."""

    def __init__(self) -> None:
        self._loop_id = threading.get_native_id()
        self._seen = (0.0, 0.0, 0.0)
        self.look(())

    def look(self, threads: Iterable[int]) -> CpuDemand:
        """Return the demand since the last look; `threads` are the native ids of the handlers'."""
        at = time.monotonic()
        loop_s = _wanted_s(self._loop_id)
        if loop_s is None:  # not Linux: what was used has to do for what was wanted
            loop_s = time.thread_time()
            handlers_s = time.process_time() - loop_s
        else:
            handlers_s = sum(_wanted_s(thread) or 0.0 for thread in threads)
        before, self._seen = self._seen, (at, loop_s, handlers_s)
        passed = max(at - before[0], 1e-6)
        return CpuDemand((loop_s - before[1]) / passed, (handlers_s - before[2]) / passed)


def _wanted_s(thread: int) -> float | None:
    """Return the seconds that a thread has run or has been kept waiting for a CPU; None where nobody counts them."""
    try:
        ran, waited, _ = Path(f"/proc/self/task/{thread}/schedstat").read_bytes().split()
    except (OSError, ValueError):
        return None
    return (int(ran) + int(waited)) / 1e9
