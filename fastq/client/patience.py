"""Drives what asks and pauses by turns (`protocol.results.waiting`) for as long as somebody has patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from fastq.protocol.asking import Request
from fastq.protocol.results import Outcomes, Waiting


async def wait(waiting: Waiting, ask: Callable[[Request[Any]], Awaitable[Any]], timeout: float | None) -> Outcomes:
    """Return what `waiting` returns.

    Raises:
        TimeoutError: it had not within `timeout` seconds.

    """
    answer = None
    async with asyncio.timeout(timeout):
        while True:
            try:
                step = waiting.send(answer)
            except StopIteration as end:
                outcomes: Outcomes = end.value
                return outcomes
            answer = await (asyncio.sleep(step) if isinstance(step, float) else ask(step))


def wait_sync(waiting: Waiting, ask: Callable[[Request[Any]], Any], timeout: float | None, what: str) -> Outcomes:
    """As `wait`; `what` had not ended then."""
    until, answer = inf if timeout is None else time.monotonic() + timeout, None
    while True:
        try:
            step = waiting.send(answer)
        except StopIteration as end:
            outcomes: Outcomes = end.value
            return outcomes
        if not isinstance(step, float):
            answer = ask(step)
        elif time.monotonic() >= until:
            raise TimeoutError(f"{what} had not ended within {timeout} s")
        else:
            time.sleep(min(step, max(0.0, until - time.monotonic())))
