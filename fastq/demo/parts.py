"""The parts of the demo: index files, measure single jobs, drain no-ops. Each enqueues, watches, and returns times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import IO, Any

from psycopg import Connection

from fastq.demo import jobs, tables
from fastq.demo.crew import DemoFleet
from fastq.demo.progress import DemoProgress
from fastq.demo.summary import DemoTiming
from fastq.errors import FastqError
from fastq.job import JobSpec
from fastq.job_ids import JobIds

PINGS = 200
_PING_EVERY_S = 0.005
_LOOK_EVERY_S = 0.02
_STUCK_S = 60.0


class Parts:
    """What is done on a connection to look with, by a crew that works; `jobs.app` is open meanwhile."""

    def __init__(self, conn: Connection[Any], crew: DemoFleet, out: IO[str]) -> None:
        self._conn = conn
        self._crew = crew
        self._out = out

    def await_workers(self, processes: int) -> None:
        """Return when so many workers are ready."""
        with DemoProgress("starting workers", processes, self._out) as shown:
            self._watch(shown, processes, lambda: (tables.workers(self._conn), ""))

    def index(self, paths: list[str]) -> DemoTiming:
        """Index files; those whose jobs failed are done too."""
        enqueue_s, _ = self._enqueue((jobs.index_file.job(path=path) for path in paths), len(paths))

        def look() -> tuple[int, str]:
            good, bad = tables.files_done(self._conn)
            return good + bad, f"{bad} error{'s' * (bad != 1)}" if bad else ""

        with DemoProgress("indexing files", len(paths), self._out) as shown:
            return DemoTiming(jobs=len(paths), enqueue_s=enqueue_s, run_s=self._watch(shown, len(paths), look))

    def ping(self) -> None:
        """Enqueue single jobs, one after the other, for workers that have nothing else to do."""
        with DemoProgress("single jobs", PINGS, self._out) as shown:
            for sent in range(PINGS):
                jobs.ping.enqueue_sync(sent_ns=time.monotonic_ns())
                shown.at(sent)
                time.sleep(_PING_EVERY_S)  # the pace of the producer that is simulated
            self._watch(shown, PINGS, lambda: (tables.pings_done(self._conn), ""))

    def drain(self, count: int) -> DemoTiming:
        """Enqueue no-ops in one transaction and watch them go."""
        if not count:
            return DemoTiming(jobs=0, enqueue_s=0.0, run_s=0.0)
        enqueue_s, ids = self._enqueue((jobs.noop.job(number=number) for number in range(count)), count)

        def look() -> tuple[int, str]:
            left = tables.noops_left(self._conn, ids[-1])
            # Not all are done while some are leased, though none stands in line.
            return (count, "") if left is None else (max(0, min(count - left, count - 1)), "")

        with DemoProgress("draining no-ops", count, self._out) as shown:
            return DemoTiming(jobs=count, enqueue_s=enqueue_s, run_s=self._watch(shown, count, look))

    def _enqueue(self, specs: Iterable[JobSpec], count: int) -> tuple[float, JobIds]:
        """Enqueue all in one transaction: no worker sees one of them before its commit."""
        started = time.perf_counter()
        with DemoProgress("enqueueing", count, self._out) as shown:
            ids = jobs.app.enqueue_many_sync(specs, progress=shown.at)
            shown.at(count)
        return time.perf_counter() - started, ids

    def _watch(self, shown: DemoProgress, total: int, look: Callable[[], tuple[int, str]]) -> float:
        """Look until `total` are done; returns the seconds from now until then.

        Raises:
            FastqError: the workers ended, or nothing moves any more.

        """
        started = moved_at = time.perf_counter()
        before = -1
        while True:
            done, note = look()
            now = time.perf_counter()
            shown.at(done, note)
            if done >= total:
                return now - started
            self._crew.check()
            if done != before:
                before, moved_at = done, now
            elif now - moved_at > _STUCK_S:
                raise FastqError(f"nothing has moved for {_STUCK_S:.0f} s; run with --keep and look at worker.log")
            time.sleep(_LOOK_EVERY_S)
