"""The slots of a worker: tasks that run one job after the other, started when they are needed, asleep when not."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from fastq.observability.runs import enter
from fastq.worker.running import Running

log = logging.getLogger("fastq.worker")


class Slots:
    """`tasks` by their `numbers` on the board, which has `room` for so many; `idle` ones wait to be woken.

    `serve` is what a slot does with its number; `running` has the tasks for those who ask what runs; `wanted` says
    whether there is work for another slot when one has ended.
    """

    def __init__(
        self,
        count: int,
        room: int,
        serve: Callable[[int], Coroutine[Any, Any, None]],
        running: Running,
        wanted: Callable[[], bool],
    ) -> None:
        self._serve = serve
        self._running = running
        self._wanted = wanted
        self.tasks = running.slots
        self.idle: deque[asyncio.Future[None]] = deque()
        self.numbers = list(range(count - 1, -1, -1))
        """Those that no slot has, and the next ones may take."""

        self._spare = list(range(count, room))
        self.surplus = 0
        """So many slots are to end, whichever look first."""

        self.waking = False
        """Whether one has been woken and has not looked for work yet."""

    @property
    def busy(self) -> int:
        """How many run a job, or are about to take one."""
        return len(self.tasks) - len(self.idle)

    def wake_one(self) -> None:
        """Let one more slot look for work, unless one is about to: an idle one, else a new one."""
        if self.waking:
            return
        if self.idle:
            self.waking = True
            self.idle.pop().set_result(None)  # the one whose memory is still warm
        elif self.numbers:
            self.waking = True
            self._start(self.numbers.pop())

    def _start(self, number: int) -> None:
        context = contextvars.Context()
        context.run(enter, partial(self._running.of, number))
        slot = asyncio.get_running_loop().create_task(self._serve(number), name=f"fastq-slot-{number}", context=context)
        self.tasks.add(slot)
        slot.add_done_callback(self._ended)

    def _ended(self, slot: asyncio.Task[None]) -> None:
        self.tasks.discard(slot)
        if not slot.cancelled() and (error := slot.exception()) is not None:
            log.error("%s ended by an error that is no job's", slot.get_name(), exc_info=error)
        if self._wanted():
            self.wake_one()

    async def sleep(self, on_idle: Callable[[], None]) -> None:
        """Wait until woken; `on_idle` is called when this slot counts as idle."""
        future = asyncio.get_running_loop().create_future()
        self.idle.append(future)
        on_idle()
        try:
            await future
        except BaseException:
            if future in self.idle:
                self.idle.remove(future)
            raise

    def resize(self, more: int) -> None:
        """Let there be so many slots more, or less: those that are too many end after the jobs that they run."""
        for _ in range(more):
            if self.surplus:
                self.surplus -= 1
            else:
                self.numbers.append(self._spare.pop())
        for _ in range(-more):
            if self.numbers:
                self._spare.append(self.numbers.pop())
            else:
                self.surplus += 1
        if self.surplus:
            self.wake_all()

    def give_back(self, number: int) -> None:
        """Let the next slot have the number of one that ended, unless that was one too many."""
        if self.surplus:
            self.surplus -= 1
            self._spare.append(number)
        else:
            self.numbers.append(number)

    def wake_all(self) -> None:
        """Let every idle slot look whether it is to end."""
        while self.idle:
            if not (future := self.idle.pop()).done():
                future.set_result(None)
