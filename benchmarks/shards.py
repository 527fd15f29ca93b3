"""Measures what shards cost on one server: two databases in turn, one with a single shard, one with many.

    DSN="host=… dbname=…" python benchmarks/shards.py --shards 32 --output bench_results

Drained are no-ops that were enqueued by a hundred calls, so that they are spread. The latency is that of single jobs,
one every 40 ms, from before the enqueue to the handler. Transactions are counted while a fleet has nothing to do.
The ratio of a figure is the median of the rounds' ratios, many shards to one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from psycopg import conninfo
from workers import start, stop

import fastq
from fastq.bench import machine, result
from fastq.config import find_dsn
from fastq.postgres import database
from fastq.schema import migrator

APP = """
import os
import time

import fastq

app = fastq.App()
out = os.open(os.environ["TIMES"], os.O_WRONLY | os.O_APPEND)


@app.task(queue="noop")
async def noop(n: int) -> None: ...


@app.task(queue="ping")
async def ping(began: int) -> None:
    os.write(out, b"%d\\n" % (time.monotonic_ns() - began))
"""
CALLS, PINGS, IDLE_S, SETTLES_S = 100, 150, 20.0, 12.0
Figures = dict[str, float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-shards.json there")
    return parser.parse_args()


def new_database(dsn: str, shards: int) -> str:
    """Make a database of so many shards, in which the no-ops wait; returns its DSN."""
    name = f"fastq_shards_{shards}"
    with database.connect(dsn) as conn:
        conn.execute(f"drop database if exists {name}".encode())
        conn.execute(f"create database {name}".encode())
    made = conninfo.make_conninfo(dsn, dbname=name)
    with database.connect(made) as conn:
        migrator.migrate(conn, shards=shards)
        conn.execute("select fastq.pause('noop')")
    return made


class Place:
    """A database, and a fleet of two workers for it."""

    def __init__(self, dsn: str, folder: Path, name: str, look_s: float = 0.02) -> None:
        self.dsn = dsn
        self._look_s = look_s
        self._folder = folder
        self._times = folder / name
        self._times.touch()

    def measure(self, jobs: int, *, idle: bool = True) -> Figures:
        """Return the figures of one round."""
        env = {"PYTHONPATH": os.pathsep.join([str(self._folder), *filter(None, sys.path)]), "TIMES": str(self._times)}
        with database.connect(self.dsn) as conn:
            fleet = start(self.dsn, "shards_app:app", 2, env=env)
            try:
                figures = {"jobs_per_s": self._drain(conn, jobs), **asyncio.run(self._ping())}
                if not idle:
                    return figures
                time.sleep(SETTLES_S)
                before = _transactions(conn)
                time.sleep(IDLE_S)
                return {**figures, "idle_transactions_per_s": (_transactions(conn) - before) / IDLE_S}
            finally:
                stop(fleet)

    def _drain(self, conn: database.Connection, jobs: int) -> float:
        app = fastq.App(self.dsn)
        noop = app.task(queue="noop", name="shards_app.noop")(_noop)
        with app:
            for call in range(CALLS):
                app.enqueue_many_sync(noop.job(n=call * jobs + n) for n in range(jobs // CALLS))
        conn.execute("vacuum analyze fastq.ready")
        began = time.monotonic()
        conn.execute("select fastq.resume('noop')")
        left = "select count(*) from (select 1 from {} limit 1) x"
        for what in ("fastq.ready where queue = 'noop'", "fastq.lease"):
            while conn.execute(left.format(what).encode()).fetchone() != (0,):
                time.sleep(self._look_s)
        took = time.monotonic() - began
        conn.execute("select fastq.pause('noop')")
        return jobs / took

    async def _ping(self) -> Figures:
        self._times.write_bytes(b"")
        app = fastq.App(self.dsn)
        ping = app.task(queue="ping", name="shards_app.ping")(_ping)
        async with app:
            for _ in range(PINGS):
                await ping.enqueue(began=time.monotonic_ns())
                await asyncio.sleep(0.04)
        times = sorted(int(line) / 1e6 for line in self._times.read_text("ascii").split())
        if len(times) != PINGS:
            sys.exit(f"{len(times)} of {PINGS} jobs have run")
        return {"p50_ms": median(times), "p95_ms": times[PINGS * 95 // 100]}


async def _noop(n: int) -> None: ...


async def _ping(began: int) -> None: ...


def _transactions(conn: database.Connection) -> int:
    conn.execute("select pg_stat_clear_snapshot()")
    asked = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    return int((conn.execute(asked).fetchone() or (0,))[0])


def main() -> None:
    """Measure, say it, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shards_app.py").write_text(APP)
        places = {n: Place(new_database(dsn, n), folder, f"of_{n}") for n in (1, given.shards)}
        rounds: list[dict[int, Figures]] = []
        for number in range(given.rounds):
            order = (1, given.shards) if number % 2 == 0 else (given.shards, 1)
            rounds.append({shards: places[shards].measure(given.jobs) for shards in order})
            print(number, rounds[-1], flush=True)
    ratios = {
        figure: round(median(one[given.shards][figure] / one[1][figure] for one in rounds), 3)
        for figure in rounds[0][1]
    }
    print(f"{given.shards} shards to 1: {ratios}")
    if given.output is not None:
        with database.connect(dsn) as conn:
            conditions = machine.describe(conn)
        found = {"scenario": "shards", "shards": given.shards, "jobs": given.jobs, "ratios": ratios}
        found["rounds"] = [{str(shards): figures for shards, figures in one.items()} for one in rounds]
        command = f"python benchmarks/shards.py --shards {given.shards} --rounds {given.rounds}"
        print(f"wrote {result.save({**found, **conditions, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
