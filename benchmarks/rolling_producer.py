"""A producer of rolling.py: `python rolling_producer.py NAME`. It enqueues until TERM, and then ends with 0.

What it was told goes into the file that ACKS names: a line per job, with the times before and after the call.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Sequence

import rolling_app as jobs

import fastq
from fastq.job import JobSpec

EVERY_S = 0.02
KINDS = ("plain", "line", "once", "later", "plain", "line", "flaky", "only", "thread", "sql")
MANY = ("plain", "once", "later", "line", "plain", "flaky", "once", "plain", "thread", "only")
LINES = 3
"""Both producers enqueue into the same ordered groups."""

TRIPS = 20
"""Of so many ordered jobs one fails once; each group has some of these."""

KEY_FOR_S, KEY_DELAY_S = 0.5, 2.0
"""A unique key is that of all producers for so long, and its job runs later than that: of each, one job is enqueued."""


class Producer:
    """Enqueues one call after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._out = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._stopped = asyncio.Event()
        self._jobs = self._lines = 0

    async def run(self) -> None:
        """Enqueue until TERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        async with jobs.app:
            calls, due = 0, time.monotonic()
            while not self._stopped.is_set():
                await self._call(calls)
                calls, due = calls + 1, max(due + EVERY_S, time.monotonic() - 1.0)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _call(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        if kind == "sql":
            made = self._job("plain")
            await self._told([made[0]], self._in_sql(made[0]["job"]))
        else:
            made = self._job(kind)
            await self._told([made[0]], self._single(made[1]))
        if number % 25 == 24:
            many = [self._job(kind) for kind in MANY]
            await self._told([about for about, _ in many], self._stream([spec for _, spec in many]))

    def _job(self, kind: str) -> tuple[dict[str, str], JobSpec]:
        """Return a new job, and what will be written down of it."""
        self._jobs += 1
        about = {"kind": kind, "job": f"{self._name}:{self._jobs}"}
        job = about["job"]
        if kind == "line":
            self._lines += 1
            about["group"] = f"group-{self._lines % LINES}"
            return about, jobs.line.options(group_key=about["group"]).job(job=job, trips=not self._lines % TRIPS)
        if kind == "only":
            about["key"] = f"key-{int(time.monotonic() / KEY_FOR_S)}"
            return about, jobs.only.options(unique_key=about["key"], delay=KEY_DELAY_S).job(job=job)
        if kind == "later":
            return about, jobs.later.options(delay=0.3 + self._jobs % 5 * 0.5).job(job=job)
        return about, getattr(jobs, kind).job(job=job)

    async def _single(self, spec: JobSpec) -> Sequence[tuple[int, bool]]:
        ref = await jobs.app.enqueue(spec)
        return [(ref.id, ref.duplicate)]

    async def _stream(self, specs: Sequence[JobSpec]) -> Sequence[tuple[int, bool]]:
        ids = await jobs.app.enqueue_many(specs)
        return [(job, place in ids.duplicates) for place, job in enumerate(ids)]

    async def _in_sql(self, job: str) -> Sequence[tuple[int, bool]]:
        async with jobs.app.client.connection() as conn:
            arguments = ["rolling_app.plain", json.dumps({"job": job})]
            cur = await conn.execute("select fastq.enqueue(%s, %s::json)", arguments)
            row = await cur.fetchone()
        assert row is not None
        return [(int(row[0]), False)]

    async def _told(self, made: Sequence[dict[str, str]], call: Awaitable[Sequence[tuple[int, bool]]]) -> None:
        """Make a call, and write down what became of each of its jobs."""
        sent = time.monotonic()
        answers: list[dict[str, object]]
        try:
            answers = [{"id": job, "duplicate": duplicate} for job, duplicate in await call]
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is counted
            unknown = isinstance(exc, fastq.EnqueueOutcomeUnknown)
            answers = [{"error": f"{type(exc).__name__}: {exc}", "unknown": unknown}] * len(made)
        times = {"sent": sent, "acked": time.monotonic()}
        lines = [json.dumps({**about, **answer, **times}) for about, answer in zip(made, answers, strict=True)]
        os.write(self._out, "".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    asyncio.run(Producer(sys.argv[1]).run())
