"""Measures what NOTIFY costs those who commit: single enqueues from many connections without it, as fastq sends it, and
one in each transaction, in turn.

    python benchmarks/notify.py --connections 50 --rounds 5 --output bench_results

A transaction with a NOTIFY holds a lock of the whole server until its commit is flushed, so such commits go one after
the other. fastq notifies outside of the transaction, and never twice at once from a process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from psycopg import AsyncConnection

from fastq import testing
from fastq.bench import machine, result
from fastq.client.asynchronous import NOTIFY_EVERY_S
from fastq.job import JobSpec, Options
from fastq.postgres import database
from fastq.protocol import upkeep
from fastq.protocol.enqueue import Line, insert_lines

NEVER, OURS, EACH = "never", "ours", "each"
"""No NOTIFY at all; one at a time, after the commits; one in each transaction."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-notify.json there")
    return parser.parse_args()


class Enqueuer:
    """Enqueues single jobs from all its connections at once."""

    def __init__(self, connections: Sequence[AsyncConnection[Any]], bell: AsyncConnection[Any]) -> None:
        self._connections = connections
        self._bell = bell
        self._ringing: asyncio.Task[None] | None = None
        self._again = False
        self.enqueued = 0

    async def run(self, how: str, seconds: float) -> float:
        """Return the jobs committed per second."""
        self.enqueued, started = 0, time.perf_counter()
        until = started + seconds
        await asyncio.gather(*(self._enqueue(conn, how, until) for conn in self._connections))
        took_s = time.perf_counter() - started
        if self._ringing is not None:
            await self._ringing
        return self.enqueued / took_s

    async def _enqueue(self, conn: AsyncConnection[Any], how: str, until: float) -> None:
        while time.perf_counter() < until:
            async with conn.pipeline(), conn.transaction():
                await insert_lines(conn, [Line(JobSpec("noop", {}, Options(queue="benchmark")), 1000)])
                if how == EACH:
                    await upkeep.notify(conn)
            self.enqueued += 1
            if how == OURS:
                self._ring()

    def _ring(self) -> None:
        """Notify as the client does: while one is on its way, once more behind it."""
        self._again = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        while self._again:
            self._again = False
            await upkeep.notify(self._bell)
            await asyncio.sleep(NOTIFY_EVERY_S)


async def measure(given: argparse.Namespace, dsn: str) -> dict[str, list[float]]:
    """Return the rates of each way, one for each round."""
    rates: dict[str, list[float]] = {NEVER: [], OURS: [], EACH: []}
    opened = [await database.connect_async(dsn, "fastq notify benchmark") for _ in range(given.connections + 2)]
    listener, bell, *connections = opened
    await listener.execute("listen fastq")
    enqueuer = Enqueuer(connections, bell)
    await enqueuer.run(NEVER, 1.0)  # what is only slow at first
    for number in range(given.rounds):
        for how, found in rates.items():
            found.append(await enqueuer.run(how, given.seconds))
        print(f"round {number + 1}: " + ", ".join(f"{how} {found[-1]:,.0f} jobs/s" for how, found in rates.items()))
    for conn in opened:
        await conn.close()
    return rates


def main() -> None:
    """Measure in a database of its own, print the ratios, write the file."""
    given = options()
    with (
        testing.server(os.environ.get("FASTQ_TEST_DSN")) as server,
        testing.template(server) as template,
        testing.database(server, template) as dsn,
    ):
        with database.connect(dsn, "fastq notify benchmark") as conn:
            conditions = machine.describe(conn)
        rates = uvloop.run(measure(given, dsn))
    ratios = {f"ratio_{how}": round(median(found) / median(rates[NEVER]), 4) for how, found in rates.items()}
    ours, each = ratios[f"ratio_{OURS}"], ratios[f"ratio_{EACH}"]
    print(f"of the rate without NOTIFY: {ours:.0%} as fastq sends it, {each:.0%} with one in each transaction")
    if given.output is not None:
        figures = {"jobs_per_s": median(rates[OURS]), "connections": given.connections, **ratios}
        command = f"python benchmarks/notify.py --connections {given.connections} --rounds {given.rounds}"
        found = {"scenario": "notify", "jobs": 0, **figures, **conditions, "command": command, "samples": rates}
        print(f"wrote {result.save(found, given.output)}")


if __name__ == "__main__":
    main()
