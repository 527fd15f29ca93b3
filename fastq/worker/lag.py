"""Tells when the event loop stood still: who blocks it, and where the main thread stands.

A thread looks on, since a blocked loop cannot. It needs the GIL: a handler that blocks in C without releasing it is
reported as soon as it lets go.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

log = logging.getLogger("fastq.worker")

_TICK_S = 0.25
_DEEPEST = 12


class LagWatch:
    """Watches the running event loop from a thread, until closed.

    `doubt` is called in the loop when it stood still for longer than `patience_s`.
    """

    def __init__(
        self,
        limit_s: float,
        describe: Callable[[asyncio.Task[Any]], str | None],
        *,
        patience_s: float,
        doubt: Callable[[], None],
    ) -> None:
        self._limit_s = limit_s
        self._describe = describe
        self._patience_s = patience_s
        self._doubt = doubt
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._ticked_at = monotonic()
        self._closed = threading.Event()
        self._tick()
        threading.Thread(target=self._watch, name="fastq-lag", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _tick(self) -> None:
        late_s = monotonic() - self._ticked_at - _TICK_S
        self._ticked_at = monotonic()
        if late_s > self._patience_s:
            self._doubt()
        if not self._closed.is_set():
            self._loop.call_later(_TICK_S, self._tick)

    def _watch(self) -> None:
        told_of = 0.0
        while not self._closed.wait(_TICK_S):
            stuck_since = self._ticked_at
            blocked_s = monotonic() - stuck_since - _TICK_S
            if blocked_s >= self._limit_s and stuck_since != told_of:
                told_of = stuck_since
                log.warning(
                    "the event loop is blocked for %.1f s by %s:\n%s", blocked_s, self._culprit(), self._stack()
                )

    def _culprit(self) -> str:
        task = asyncio.current_task(self._loop)
        return (task and (self._describe(task) or task.get_name())) or "a callback"

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way to see another thread
        return "".join(traceback.format_stack(frame)[-_DEEPEST:]).rstrip() if frame else "(no stack)"
