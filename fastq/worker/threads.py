"""Threads for synchronous handlers.

Jobs go out through one queue; their outcomes come back through a deque, and the event loop is woken once for all that
came back since it last looked. Each run has a fresh context, so that what it sets in contextvars stays its own.

An exception comes back as a value, never as a future's: futures refuse StopIteration, and who awaits one would wait for
ever.

As many threads take jobs as their work is worth: all of them while they wait, one where they compute on one CPU.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from fastq.worker.cpu_demand import CpuMeter, threads_worth

_FIRST_LOOK_S, _LOOK_EVERY_S = 0.01, 0.1

Work = Callable[[], Any]
Outcome = tuple[Any, BaseException | None]
"""What a function returned, and what it raised."""


def outcome_of(work: Work) -> Outcome:
    """Return what a function returns or raises, whatever that is, for its caller in a coroutine.

    No coroutine can raise StopIteration: a bare `next()` on an empty iterator comes out as a RuntimeError that says so.
    """
    try:
        return work(), None
    except StopIteration as exc:
        error = RuntimeError("the function raised StopIteration, as next() does on an iterator that is empty")
        error.__cause__ = exc
        return None, error
    except BaseException as exc:  # noqa: BLE001 - whoever awaits it decides
        return None, exc


class _Run:
    """One run of a function: `future` is what its slot waits for; who pops `ticket` has decided whether it starts."""

    __slots__ = ("future", "starts", "ticket", "work")

    def __init__(self, work: Work, starts: Work, future: asyncio.Future[Outcome]) -> None:
        self.work = work
        self.starts = starts
        self.future = future
        self.ticket = [True]

    def go(self) -> Any:
        """Run the function in a context of its own."""
        self.starts()
        return contextvars.Context().run(self.work)

    def taken(self) -> bool:
        """Take the ticket; True if somebody else has."""
        try:
            self.ticket.pop()
        except IndexError:
            return True
        return False


class Threads:
    """At most `size` threads, started on first use; those numbered below `limit` take jobs, the others rest.

    There are never fewer than `least` of these; without it, all take jobs.
    """

    def __init__(self, size: int, *, least: int | None = None) -> None:
        self.size = size
        self.limit = self._least = size if least is None else min(size, least)
        self._meter: CpuMeter | None = None
        self._room = threading.Condition()
        self._queue: SimpleQueue[_Run | None] = SimpleQueue()
        self._back: deque[tuple[_Run, Outcome]] = deque()
        self._loop = asyncio.get_running_loop()
        self._woken = False
        self._started: list[threading.Thread] = []
        self.busy = 0
        self.on_more: Callable[[], None] = lambda: None

    @property
    def room(self) -> bool:
        """Whether a thread is free, or one job may wait for the next that is: so more threads are seen to be wanted."""
        return self.busy <= self.limit

    @property
    def full(self) -> bool:
        """Whether more jobs wait for a thread than there are threads that take any."""
        return self.busy >= 2 * self.limit

    async def run(self, work: Work, starts: Work = lambda: None) -> Any:
        """Run `work` in a thread; `starts` is called there just before.

        Cancelled before it started, it never starts. A thread cannot be cancelled: after that, it runs to its end.
        """
        run = _Run(work, starts, self._loop.create_future())
        if len(self._started) < self.limit and self.busy >= len(self._started):
            self._start()
        if self._meter is None and self._least < self.size:
            self._meter = CpuMeter()
            self._loop.call_later(_FIRST_LOOK_S, self._look)
        self.busy += 1
        self._queue.put(run)
        try:
            result, error = await self._outcome(run)
        finally:
            self.busy -= 1
        if error is not None:
            raise error
        return result

    async def _outcome(self, run: _Run) -> Outcome:
        """Wait for a thread, also when the run is cancelled while it is there."""
        try:
            return await run.future
        except asyncio.CancelledError:
            if not run.taken():
                raise
        while True:
            if run.future.cancelled():
                run.future = self._loop.create_future()
            with suppress(asyncio.CancelledError):
                return await run.future

    def _look(self) -> None:
        """Let fewer threads take jobs, or more; every now and then while there are any."""
        if self._meter is None or not self.busy:
            self._meter = None
            return
        demand = self._meter.look([thread.native_id or 0 for thread in self._started])
        waiting, before = self.busy > self.limit, self.limit
        self._let(threads_worth(self.limit, demand, waiting=waiting, least=self._least, most=self.size))
        while len(self._started) < min(self.limit, self.busy):
            self._start()
        if self.limit > before:
            self.on_more()
        self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _let(self, limit: int) -> None:
        with self._room:
            self.limit = limit
            self._room.notify_all()

    def _start(self) -> None:
        number = len(self._started)
        thread = threading.Thread(target=self._serve, args=(number,), name=f"fastq-thread-{number}", daemon=True)
        self._started.append(thread)
        thread.start()

    def _serve(self, number: int) -> None:
        while (run := self._queue.get()) is not None:
            if run.taken():
                continue
            self._back.append((run, outcome_of(run.go)))
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return
            if number >= self.limit:
                with self._room:
                    self._room.wait_for(lambda: number < self.limit)

    def _deliver(self) -> None:
        # The flag falls before the deque is emptied: an outcome appended meanwhile is delivered now or wakes us again.
        self._woken = False
        while self._back:
            run, outcome = self._back.popleft()
            if run.future.done():
                run.future = self._loop.create_future()  # cancelled, and its slot has not been at it since
            run.future.set_result(outcome)

    def close(self) -> None:
        """Let the threads end after what they are doing; does not wait for them."""
        self._meter = None
        self._let(self.size)
        for _ in self._started:
            self._queue.put(None)
