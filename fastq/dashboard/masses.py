"""Mass actions: what is done to all jobs that fit, some thousands at a time, with its progress for everybody to see.

Each step is a statement of its own, so one that is interrupted has done what it has done: started again, it goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fastq.errors import FastqError

REMEMBERED = 20


@dataclass(slots=True)
class Mass:
    """One of them: about how many jobs were `meant`, `done` so far, and how it ended."""

    action: str
    target: str
    who: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    meant: int = 0
    done: int = 0
    ended: str = ""


Step = Callable[[], Awaitable[int]]


class Masses:
    """Those that run, and the last that ended."""

    def __init__(self) -> None:
        self.last: deque[Mass] = deque(maxlen=REMEMBERED)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, mass: Mass, step: Step, finish: Callable[[Mass], Awaitable[None]]) -> None:
        """Take steps until one finds nothing to do, then `finish`."""
        self.last.appendleft(mass)
        task = asyncio.create_task(self._run(mass, step, finish), name="fastq-mass")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, mass: Mass, step: Step, finish: Callable[[Mass], Awaitable[None]]) -> None:
        try:
            while some := await step():
                mass.done += some
            mass.ended = "done"
        except FastqError as exc:
            mass.ended = f"stopped: {exc}"
        finally:
            mass.ended = mass.ended or "stopped"
            await finish(mass)

    async def ended(self) -> None:
        """Wait for those that run."""
        while self._tasks:
            await asyncio.wait(self._tasks)
