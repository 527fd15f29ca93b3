"""Workers of a fleet without their processes, for idle_fleet.py: many in one, each with its own connection.

What one does to the database is what a worker does while there is nothing to do: it registers, and looks for jobs with
a worker's own code, as often as one whose host hears of new jobs. One statement a host renews their rows. Commands come
on stdin, a line each; `start` and `stop` are answered by the seconds that they took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import sys
import time
from functools import partial

import uvloop

from fastq.config import WorkerConfig, find_dsn
from fastq.postgres import database
from fastq.postgres.link import Link
from fastq.protocol import worker as registry
from fastq.protocol.shards import Shards
from fastq.worker.known import Known
from fastq.worker.lookout import Lookout
from fastq.worker.main import SETUP

LOOKS_EVERY_S = 120.0
"""As those that are not the first idle one of their host."""
BEATS_EVERY_S = 5.0
LEASE_S = 30.0


AT_ONCE = 50
"""So many register at a time: a fleet that starts is not one process, and its connections do not all come at once."""


class Host:
    """Some workers; `beats` renews their rows, where a host would have its steward's connection."""

    def __init__(self, dsn: str, number: int, workers: int, beats: Link, turns: asyncio.Semaphore) -> None:
        self._name = f"light-{number}"
        self._beats = beats
        self._turns = turns
        self._links = [Link(dsn, "fastq worker", SETUP) for _ in range(workers)]
        self._config = WorkerConfig(target="light", dsn=dsn)
        self._ids: dict[int, Link] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register all at once, each with its first look, as after a deploy."""
        await asyncio.gather(*map(self._start, self._links))
        self._tasks.append(asyncio.create_task(self._beat()))

    async def _start(self, link: Link) -> None:
        async with self._turns:
            await self._begin(link)

    async def _begin(self, link: Link) -> None:
        register = partial(registry.register, host=self._name, pid=os.getpid(), name="", lease_s=LEASE_S, shards=1)
        self._ids[await link.call(register)] = link
        lookout = Lookout(self._config, link=link, known=Known(["idle_app.idle"]), shards=Shards(1))
        lookout.speaks = lambda: False
        await lookout.from_zero()
        self._tasks.append(asyncio.create_task(self._look(lookout)))

    async def _look(self, lookout: Lookout) -> None:
        await asyncio.sleep(random.uniform(0, LOOKS_EVERY_S))
        while True:
            await lookout.if_due(None)
            await asyncio.sleep(LOOKS_EVERY_S)

    async def _beat(self) -> None:
        while True:
            counters = dict.fromkeys(self._ids, "{}")
            beat = partial(registry.renew_all, shards=Shards(1), workers=counters, lease_s=LEASE_S)
            if (lost := len(self._ids) - len(await self._beats.call(beat))) and self._tasks:
                print(f"{self._name} lost {lost} of its workers", file=sys.stderr)
            await asyncio.sleep(BEATS_EVERY_S)

    async def stop(self) -> None:
        """Take all off the list, and close their connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(self._stop(worker, link) for worker, link in self._ids.items()))
        self._ids = {}

    async def _stop(self, worker: int, link: Link) -> None:
        await link.call(partial(registry.unregister, worker=worker, shards=Shards(1)))
        await link.close()


async def main() -> None:
    """Do what is asked on stdin, until it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True, help="of all of them")
    given = parser.parse_args()
    dsn = await asyncio.to_thread(database.server, find_dsn())
    each, more = divmod(given.workers, given.hosts)
    beats, turns = Link(dsn, "fastq heartbeat"), asyncio.Semaphore(AT_ONCE)
    hosts = [Host(dsn, number, each + (number < more), beats, turns) for number in range(given.hosts)]
    print(f"{given.workers} light workers on {socket.gethostname()}", file=sys.stderr)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        began = time.monotonic()
        await asyncio.gather(*(getattr(host, line)() for host in hosts))
        print(f"{time.monotonic() - began:.3f}", flush=True)
    await beats.close()


if __name__ == "__main__":
    uvloop.run(main())
