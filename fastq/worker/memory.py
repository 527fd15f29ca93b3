"""Watches this process's memory, so that a leaking app is replaced before the kernel does it."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from pathlib import Path

log = logging.getLogger("fastq.worker")

_LOOK_EVERY_S = 1.0
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the memory that this process holds; where /proc is missing, the most it ever held."""
    if _STATM.exists():
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def exceeded(limit_bytes: int) -> None:
    """Return once this process holds more than `limit_bytes`."""
    while (held := resident_bytes()) <= limit_bytes:  # noqa: ASYNC110 - the kernel has no event for it
        await asyncio.sleep(_LOOK_EVERY_S)
    log.info("using %.0f MB, more than --max-memory-per-child allows: leaving, to be replaced", held / 2**20)
