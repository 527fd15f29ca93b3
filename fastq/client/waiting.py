"""Waits for the ends of jobs: does what `protocol.results.waiting` asks for, questions and pauses by turns."""

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
    async with asyncio.timeout(timeout):
        step = _next(waiting, None)
        while not isinstance(step, dict):
            answer = await (asyncio.sleep(step) if isinstance(step, float) else ask(step))
            step = _next(waiting, answer)
    return step


def wait_sync(waiting: Waiting, ask: Callable[[Request[Any]], Any], timeout: float | None, what: str) -> Outcomes:
    """As `wait`; `what` had not ended then."""
    until = inf if timeout is None else time.monotonic() + timeout
    step = _next(waiting, None)
    while not isinstance(step, dict):
        answer = None
        if not isinstance(step, float):
            answer = ask(step)
        elif time.monotonic() >= until:
            raise TimeoutError(f"{what} had not ended within {timeout} s")
        else:
            time.sleep(min(step, max(0.0, until - time.monotonic())))
        step = _next(waiting, answer)
    return step


def _next(waiting: Waiting, answer: Any) -> Request[Any] | float | Outcomes:
    """Return the next question or pause, or in the end the outcomes."""
    try:
        return waiting.send(answer)
    except StopIteration as end:
        outcomes: Outcomes = end.value
        return outcomes
