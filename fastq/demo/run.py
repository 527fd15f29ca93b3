"""The order of the demo: a server, workers, files, pings, no-ops, a summary; and everything gone, whatever happens."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import IO

from fastq.demo import jobs, tables
from fastq.demo.crew import DemoFleet
from fastq.demo.files import python_files
from fastq.demo.parts import PINGS, Parts
from fastq.demo.place import DemoPlace, ignored, stoppable
from fastq.demo.summary import Summary, collect
from fastq.postgres import database
from fastq.schema import migrator


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What was asked for: worker processes; at most so many files, below some directories; no-ops; to keep the data."""

    processes: int
    below: tuple[str, ...] = ()
    files: int | None = None
    noops: int = 300_000
    keep: bool = False


def run(options: DemoOptions, out: IO[str]) -> Summary:
    """Run the demo, telling `out` how it goes; returns the figures.

    Raises:
        UsageError: there is no file to index.
        EmbeddedError: there is no PostgreSQL to start.
        FastqError: the workers ended or stood still, which would be a bug.

    """
    paths = python_files(options.below, options.files)
    # A Ctrl-C breaks a connection, which the pool would report on stderr although it is what was asked for.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    with stoppable():
        place = DemoPlace(keep=options.keep)
        try:
            unused = ", not the one of FASTQ_DSN" if os.environ.get("FASTQ_DSN") else ""
            out.write(f"{len(paths):,} files; starting a PostgreSQL of its own in {place.base}{unused}\n")
            out.flush()
            return _with_server(options, paths, place, out)
        finally:
            with ignored():
                place.close()
            if options.keep:
                out.write(f"kept: FASTQ_HOME={place.base} fastq db psql\n")


def _with_server(options: DemoOptions, paths: list[str], place: DemoPlace, out: IO[str]) -> Summary:
    with database.connect(place.open(), "fastq demo") as conn:
        migrator.migrate(conn)
        tables.create(conn)
        crew = DemoFleet(place.dsn, place.base, processes=options.processes)
        try:
            crew.open()
            parts = Parts(conn, crew, out)
            parts.await_workers(options.processes)
            jobs.app.dsn = place.dsn
            with jobs.app:
                files = parts.index(paths)
                parts.ping()
                noops = parts.drain(options.noops)
            summary = collect(conn, processes=options.processes, pings=PINGS, files=files, noops=noops)
            crew.drain()
            return summary
        finally:
            with ignored():
                crew.close()
