"""The app of the bench's workers, `fastq.bench.jobs:app`: the smallest handlers there are, and the latency probe."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import string
import struct
import time
from collections.abc import Callable
from functools import cache

from fastq.app import App
from fastq.bench import tally
from fastq.bench.plan import JobKind
from fastq.job import JobSpec

QUEUE = "fastq.bench"
ANSWER = struct.Struct("=qq")
"""What `probe` sends back: the number of the sample, and nanoseconds from the enqueue call to the handler's start."""

SOCKET_VARIABLE = "FASTQ_BENCH_SOCKET"

app = App()
_SMALLEST = len(b'{"user_id":1000000,"email":""}')
_EMAIL = "someone@example.com"
OTHERS = 1009


@app.task(queue=QUEUE, retries=0)
async def noop(user_id: int, email: str) -> None:
    """Do nothing, on the event loop."""


@app.task(queue=QUEUE, retries=0)
async def nap(user_id: int, email: str) -> None:  # noqa: ARG001 - the payload of noop
    """Wait a millisecond, on the event loop."""
    await asyncio.sleep(0.001)


@app.task(queue=QUEUE, retries=0)
def sync_noop(user_id: int, email: str) -> None:
    """Do nothing, in a thread."""


@app.task(queue=QUEUE, retries=0)
async def tallied(user_id: int, email: str, due_ns: int = 0) -> None:  # noqa: ARG001 - the payload of noop
    """Count, and note how long after the time it was due it starts, by the clock that all processes of a host share."""
    if due_ns:
        tally.own().note(time.monotonic_ns() - due_ns)
    tally.own().add()


@app.task(queue=QUEUE, retries=0)
async def probe(number: int, t0_ns: int) -> None:
    """Say how long it took from the enqueue call to here, by the clock that all processes of a host share."""
    now_ns = time.monotonic_ns()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as answers:
        answers.setblocking(False)
        answers.sendto(ANSWER.pack(number, now_ns - t0_ns), os.environ[SOCKET_VARIABLE])


def noop_job(number: int, email: str) -> JobSpec:
    """Return the job that throughput and enqueue are measured with; every one has another payload."""
    return noop.job(user_id=1_000_000 + number, email=others(email)[number % OTHERS])


def nap_job(number: int, email: str) -> JobSpec:
    """As noop_job, for `nap`."""
    return nap.job(user_id=1_000_000 + number, email=others(email)[number % OTHERS])


def sync_job(number: int, email: str) -> JobSpec:
    """As noop_job, for `sync_noop`."""
    return sync_noop.job(user_id=1_000_000 + number, email=others(email)[number % OTHERS])


MAKERS: dict[JobKind, Callable[[int, str], JobSpec]] = {
    JobKind.NOOP: noop_job,
    JobKind.NAP: nap_job,
    JobKind.SYNC: sync_job,
}


@cache
def others(email: str) -> list[str]:
    """Return addresses as long as this one: neighbours differ, since what is alike is compressed to nothing."""
    dice = random.Random(1)  # noqa: S311
    return ["".join(dice.choices(string.ascii_lowercase + string.digits, k=len(email))) for _ in range(OTHERS)]


def email_for(payload_bytes: int) -> str:
    """Return the email that makes the JSON of a job's arguments `payload_bytes` long (at least 30).

    Jobs are made from it with others of its length.
    """
    size = max(0, payload_bytes - _SMALLEST)
    rest = random.Random(0).choices(string.ascii_letters + string.digits, k=max(0, size - len(_EMAIL)))  # noqa: S311
    return (_EMAIL + "".join(rest))[:size]
