"""Threads for synchronous handlers.

Jobs go out through one queue; their outcomes come back through a deque, and the event loop is woken once for all that
came back since it last looked. Each run has a fresh context, so that what it sets in contextvars stays its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Work = Callable[[], Any]


class Threads:
    """A fixed number of threads, started on first use."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._queue: SimpleQueue[tuple[Work, Work, asyncio.Future[Any]] | None] = SimpleQueue()
        self._back: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._woken = False
        self._started: list[threading.Thread] = []
        self.busy = 0

    @property
    def full(self) -> bool:
        """Whether more jobs wait for a thread than there are threads."""
        return self.busy >= 2 * self.size

    async def run(self, work: Work, on_start: Work) -> Any:
        """Run `work` in a thread; `on_start` is called there just before."""
        future = self._loop.create_future()
        if len(self._started) < self.size and self.busy >= len(self._started):
            self._start()
        self.busy += 1
        self._queue.put((work, on_start, future))
        try:
            return await future
        finally:
            self.busy -= 1

    def _start(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"fastq-thread-{len(self._started)}", daemon=True)
        self._started.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            work, on_start, future = item
            try:
                on_start()
                result, error = contextvars.Context().run(work), None
            except BaseException as exc:  # noqa: BLE001 - the slot that awaits it decides
                result, error = None, exc
            self._back.append((future, result, error))
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return

    def _deliver(self) -> None:
        # The flag falls before the deque is emptied: an outcome appended meanwhile is delivered now or wakes us again.
        self._woken = False
        while self._back:
            future, result, error = self._back.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Let the threads end after what they are doing; does not wait for them."""
        for _ in self._started:
            self._queue.put(None)
