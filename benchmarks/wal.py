"""Measures where a job's WAL goes: enqueued and run in a steady load, by kind of record, as pg_waldump counts them.

    FASTQ_PG_BIN=/usr/lib/postgresql/15/bin python benchmarks/wal.py --jobs 300000 --output bench_results

It starts a server of its own from the programs in FASTQ_PG_BIN, where pg_waldump has to be as well. The arguments are
100 B of JSON: `random` ones differ in their e-mail addresses, as users do; `same` ones all have the same address. Full
pages that follow a checkpoint are left out: how many there are depends on how often the server makes one.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workers import start, stop

import fastq
from fastq import testing
from fastq.bench import machine, result
from fastq.job import JobSpec
from fastq.postgres import database

BACKLOG = 10_000
BATCH = 1000
LEASE = ("Heap/INSERT", "Heap/INSERT+INIT")
"""A batch is one row of a lease table; nothing else in this load is inserted singly."""

app = fastq.App()


@app.task(queue="mail", name="wal.welcome")
async def welcome(user_id: int, email: str, template: str) -> None:
    """Do nothing: the WAL is what is measured."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300_000)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-wal.json there")
    return parser.parse_args()


def specs(kind: str, first: int, number: int) -> Iterator[JobSpec]:
    """Yield jobs with 100 B of arguments."""
    for user in range(first, first + number):
        letters = string.ascii_lowercase if kind == "random" else "a"
        name = "".join(random.choices(letters, k=31))
        yield welcome.job(user_id=10_000_000 + user, email=f"{name}@example.com", template="welcome-2026")


def load(conn: Any, kind: str, jobs: int) -> None:
    """Enqueue so many jobs in batches, no faster than they are run, and wait for the last one."""
    with app:
        for first in range(0, jobs, BATCH):
            app.enqueue_many_sync(specs(kind, first, BATCH))
            while _left(conn) > BACKLOG:
                time.sleep(0.01)
    while _left(conn) or conn.execute("select exists (select from fastq.lease)").fetchone()[0]:
        time.sleep(0.05)


def _left(conn: Any) -> int:
    return int(conn.execute("select count(*) from (select from fastq.ready limit %s) r", [BACKLOG + 1]).fetchone()[0])


def records(begin: str, end: str, directory: str) -> dict[str, int]:
    """Return the bytes of each kind of record between two places in the WAL, without full pages."""
    program = Path(os.environ["FASTQ_PG_BIN"]) / "pg_waldump"
    command = [program, "--path", f"{directory}/pg_wal", "--start", begin, "--end", end, "--stats=record"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^(\w+/[\w+]+)\s+\d+ \([ \d.]+\)\s+(\d+) ", text, re.MULTILINE)
    return {name: int(size) for name, size in rows}


def measure(server: str, template: str, kind: str, given: argparse.Namespace) -> dict[str, float]:
    """Return the bytes per job of each kind of record, the largest first."""
    with testing.database(server, template) as dsn, database.connect(dsn, "fastq wal benchmark") as conn:
        os.environ["FASTQ_DSN"] = dsn
        workers = start(dsn, "wal:app", given.processes, env={})
        try:
            (directory,) = conn.execute("show data_directory").fetchone() or sys.exit("no data directory")
            conn.execute("checkpoint")
            begin = conn.execute("select pg_current_wal_insert_lsn()").fetchone()
            load(conn, kind, given.jobs)
            end = conn.execute("select pg_current_wal_flush_lsn()").fetchone()
        finally:
            stop(workers)
        assert begin
        assert end
        found = records(begin[0], end[0], directory)
    per_job = {name: round(size / given.jobs, 1) for name, size in found.items() if size >= given.jobs / 10}
    return {
        "all": round(sum(found.values()) / given.jobs, 1),
        "lease": round(sum(found.get(name, 0) for name in LEASE) / given.jobs, 1),
        **dict(sorted(per_job.items(), key=lambda pair: -pair[1])),
    }


def main() -> None:
    """Measure both kinds, print them, write the file."""
    given = options()
    with testing.server() as server, testing.template(server) as template:
        kinds = {kind: measure(server, template, kind, given) for kind in ("random", "same")}
        for kind, found in kinds.items():
            print(f"{kind}: " + ", ".join(f"{name} {size} B" for name, size in found.items()))
        if given.output is not None:
            with database.connect(server, "fastq wal benchmark") as conn:
                conditions = machine.describe(conn)
            command = f"python benchmarks/wal.py --jobs {given.jobs} -p {given.processes}"
            whole = {"scenario": "wal", "jobs": given.jobs, "wal_bytes_per_job": kinds["random"]["all"], **kinds}
            print(f"wrote {result.save({**whole, **conditions, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
