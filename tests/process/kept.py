"""An app whose tasks keep their jobs in different ways."""

from __future__ import annotations

import math

import fastq

app = fastq.App()


@app.task(keep=60, keep_payload=False)
async def without_payload(n: int) -> int:
    """Be kept with the result alone."""
    return n + 1


@app.task(keep=60, retries=0, keep_payload="failed")
async def with_payload_if_it_fails(n: int) -> int:
    """Succeed or fail."""
    return 1 // n


@app.task(keep=math.inf)
async def for_ever(n: int) -> int:
    """Be kept whole."""
    return n + 1


@app.task
async def vanishes(n: int) -> None:
    """Leave nothing."""


@app.task(keep=0.001, retries=0)
async def briefly(n: int) -> int:
    """Be kept so shortly that it is gone with the next pruning."""
    return n


@app.task(retries=0, keep_failed=0)
async def fails_without_trace(n: int) -> None:
    """Fail, and leave nothing either."""
    raise RuntimeError(n)


@app.task(retries=0, keep_failed=60, keep_payload=False)
async def fails_without_payload(n: int) -> None:
    """Fail with a secret in the arguments."""
    raise RuntimeError("no")


@app.task(retries=0)
async def fails(n: int) -> None:
    """Fail, and be kept for whoever looks."""
    raise RuntimeError("no")
