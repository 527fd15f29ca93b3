"""Measures fastq beside other PostgreSQL queues for Python, in turn, on the same server: enqueue, drain, the ratios.

    pip install 'fastq-pg[peers]'
    DSN="host=… dbname=…" python benchmarks/peers/compare.py --rounds 3 --output bench_results

Every library has a database of its own on the server of DSN (its user must be able to create databases), made new and
dropped afterwards. fastq is `fastq bench enqueue` and `fastq bench throughput`; a peer is a program beside this one
that uses the library's public calls: batches of 1,000 in, as many processes and jobs at once out. A peer's clock stops
with the start of its last job, fastq's when the last job is acknowledged. fastq gets more jobs, since with those of the
others it would be done before a clock can tell.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from psycopg import Connection, conninfo, sql

from fastq.bench import machine, result
from fastq.bench.piped import Piped
from fastq.config import find_dsn
from fastq.postgres import database
from fastq.schema import migrator

PEERS = ("procrastinate", "pgqueuer")
START_S, RUN_S = 60.0, 3600.0
Figures = dict[str, float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=10_000, help="of a peer, each round")
    parser.add_argument("--fastq-jobs", type=int, default=200_000)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("-c", "--concurrency", type=int, default=100)
    parser.add_argument("-b", "--batch-size", type=int, default=500)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-peers.json there")
    return parser.parse_args()


@contextmanager
def own_database(conn: Connection[Any], dsn: str, library: str) -> Iterator[str]:
    """Give the conninfo of a new database, dropped afterwards."""
    name = f"peers_{library}_{os.getpid()}"
    conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield conninfo.make_conninfo(dsn, dbname=name)
    finally:
        conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def programs(library: str, dsn: str, what: str, given: argparse.Namespace, count: int) -> Iterator[list[Piped]]:
    """Give a peer's programs, set and waiting."""
    orders = {"dsn": dsn, "what": what, "jobs": given.jobs}
    orders |= {"concurrency": given.concurrency, "batch_size": given.batch_size}
    started: list[Piped] = []
    try:
        started += [Piped(f"with_{library}", orders) for _ in range(count)]
        for program in started:
            program.hear(START_S)
        yield started
    finally:
        for program in started:
            program.close()


def rate(library: str, dsn: str, what: str, given: argparse.Namespace, count: int) -> float:
    """Let a peer's programs go; return jobs per second from then to the last job of all."""
    with programs(library, dsn, what, given, count) as started:
        began = time.monotonic()
        for program in started:
            program.tell(b"go")
        answers = [program.hear(RUN_S) for program in started]
    done = sum(answer["jobs"] for answer in answers)
    if what != "prepare" and done != given.jobs:
        sys.exit(f"{library}: {done:,} of {given.jobs:,} jobs in {what}")
    return float(done / max(1e-9, max(answer["last_at"] for answer in answers) - began))


def peer(library: str, dsn: str, given: argparse.Namespace) -> Figures:
    """Measure one round of a peer."""
    enqueued = rate(library, dsn, "enqueue", given, 1)
    settle(dsn)
    return {"enqueue_jobs_per_s": enqueued, "jobs_per_s": rate(library, dsn, "drain", given, given.processes)}


def settle(dsn: str) -> None:
    """Vacuum and checkpoint, as `fastq bench` does before it measures."""
    with database.connect(dsn, "peers") as conn:
        conn.execute("vacuum analyze")
        conn.execute("checkpoint")


def ours(dsn: str, given: argparse.Namespace) -> Figures:
    """Measure one round of fastq."""
    rates = {}
    for scenario, name in (("enqueue", "enqueue_jobs_per_s"), ("throughput", "jobs_per_s")):
        command = [sys.executable, "-m", "fastq", "bench", scenario, "--json", "--repeat", "1"]
        command += ["--jobs", str(given.fastq_jobs), "-p", str(given.processes)]
        command += ["-c", str(given.concurrency), "-b", str(given.batch_size)]
        environ = {**os.environ, "FASTQ_DSN": dsn}
        ran = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        rates[name] = float(json.loads(ran.stdout)["jobs_per_s"])
    return rates


def measure(conn: Connection[Any], dsn: str, given: argparse.Namespace) -> dict[str, list[Figures]]:
    """Measure all libraries, round by round."""
    found: dict[str, list[Figures]] = {"fastq": [], **{library: [] for library in given.peers}}
    for number in range(given.rounds):
        for library, rounds in found.items():
            with own_database(conn, dsn, library) as own:
                if library == "fastq":
                    with database.connect(own, "peers") as its:
                        migrator.migrate(its)
                    rounds.append(ours(own, given))
                else:
                    rate(library, own, "prepare", given, 1)
                    rounds.append(peer(library, own, given))
            print(f"round {number + 1}: {library}: {said(rounds[-1])}")
    return found


def said(figures: Figures) -> str:
    return f"enqueue {figures['enqueue_jobs_per_s']:,.0f} jobs/s, drain {figures['jobs_per_s']:,.0f} jobs/s"


def compared(found: dict[str, list[Figures]]) -> dict[str, Any]:
    """Return the medians of each library, and how many times the fastest of the others fastq is."""
    names = ("enqueue_jobs_per_s", "jobs_per_s")
    medians = {library: {n: median(one[n] for one in rounds) for n in names} for library, rounds in found.items()}
    fastq = medians["fastq"]
    ratios = {
        name: fastq[name] / max(of[name] for library, of in medians.items() if library != "fastq") for name in names
    }
    points = [{"library": library, **of} for library, of in medians.items()]
    return {
        "jobs_per_s": fastq["jobs_per_s"],
        "least_enqueue_ratio": round(ratios["enqueue_jobs_per_s"], 2),
        "least_drain_ratio": round(ratios["jobs_per_s"], 2),
        "points": points,
    }


def main() -> None:
    """Measure, print the ratios, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    with database.connect(dsn, "peers") as conn:
        conditions = machine.describe(conn)
        found = measure(conn, dsn, given)
    whole = compared(found)
    for point in whole["points"]:
        print(f"{point['library']}: {said(point)}")
    enqueue, drain = whole["least_enqueue_ratio"], whole["least_drain_ratio"]
    print(f"fastq is {enqueue} times the fastest other at enqueue, {drain} times at drain")
    if given.output is not None:
        command = " ".join(["python benchmarks/peers/compare.py", *own_arguments(sys.argv[1:])])
        limit = "see the scenarios of fastq bench; the others: their statements and commits per job"
        values = {"scenario": "peers", "jobs": given.jobs, **whole, "limit": limit, "command": command, **conditions}
        print(f"wrote {result.save({**values, 'libraries': versions(), 'samples': found}, given.output)}")


def own_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments without where results go."""
    place = arguments.index("--output") if "--output" in arguments else len(arguments)
    return arguments[:place] + arguments[place + 2 :]


def versions() -> dict[str, str | None]:
    """Return the versions of what was compared."""
    return {name: machine.version_of(name) for name in ("fastq", *PEERS, "asyncpg")}


if __name__ == "__main__":
    main()
