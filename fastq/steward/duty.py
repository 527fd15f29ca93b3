"""A duty of the steward that what stands in a row makes fail is tried again; the others do not hear of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from fastq.protocol.refusal import is_refusal

log = logging.getLogger("fastq.steward")

AGAIN_S = 0.5
AGAIN_MOST_S = 30.0
WELL_S = 60.0
"""A duty that went well for so long starts anew with the short pause."""

Duty = Callable[[], Awaitable[None]]


async def kept_up(duty: Duty, *, again_s: float = AGAIN_S) -> None:
    """Do a duty, again and again if a value that PostgreSQL or Python does not take ends it, at growing intervals.

    Anything else, a missing grant or a schema that does not fit, is let out: the steward ends loudly.
    """
    pause_s = again_s
    while True:
        started = monotonic()
        try:
            return await duty()
        except Exception as exc:
            if not is_refusal(exc):
                raise
            pause_s = again_s if monotonic() - started > WELL_S else min(pause_s, AGAIN_MOST_S)
            name = getattr(duty, "__qualname__", repr(duty))
            log.exception("%s failed and is tried again in %.3g s", name, pause_s, extra={"per": name})
        await asyncio.sleep(pause_s)
        pause_s *= 2
