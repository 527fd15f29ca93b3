"""Measures, in turn with other PostgreSQL queues, how soon a job starts on an idle fleet, and what one enqueue costs.

    pip install 'fastq-pg[peers]'
    DSN="host=… dbname=…" python benchmarks/peers/latency.py --rounds 3 --output bench_results

Every library has a database of its own on the server of DSN, made new and dropped afterwards, two worker processes of
its own command, and one sender. Jobs come at odd times, 20 to 60 ms apart; the latency is from the call of enqueue to
the handler's first line. Then, without workers, one caller awaits one enqueue after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pinged
from compare import own_arguments, own_database
from psycopg import Connection

from fastq.bench import machine, result
from fastq.config import find_dsn
from fastq.postgres import database
from fastq.schema import migrator

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WORKERS = {
    "fastq": [sys.executable, "-m", "fastq", "worker", "ping_fastq:app", "-p", "2", "--log-level", "warning"],
    "taskiq": [str(BIN / "taskiq"), "worker", "--workers", "2", "--log-level", "WARNING", "ping_taskiq:broker"],
    "dramatiq": [str(BIN / "dramatiq"), "ping_dramatiq", "--processes", "2"],
}
SENDERS = ("fastq", "pgqueuer", "taskiq", "dramatiq")
WARM_S, LAST_S = 4.0, 20.0
Figures = dict[str, float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--singles", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=SENDERS, default=SENDERS)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-peers-latency.json there")
    return parser.parse_args()


def sender(library: str, environ: dict[str, str], what: str, count: int) -> str:
    """Run the sender of a library; return what it said."""
    command = [sys.executable, f"ping_{library}.py", what, str(count)]
    return subprocess.run(command, cwd=HERE, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextmanager
def workers(library: str, environ: dict[str, str]) -> Iterator[None]:
    """Let the library's workers run."""
    started = subprocess.Popen(
        WORKERS[library], cwd=HERE, env=environ, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        time.sleep(WARM_S)
        yield
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def latencies(library: str, environ: dict[str, str], samples: int) -> Figures:
    """Return the quantiles of the last `samples` jobs, in ms."""
    notes = Path(environ[pinged.NOTES_VARIABLE])
    notes.write_text("")
    with workers(library, environ):
        sender(library, environ, "latency", samples)
        until = time.monotonic() + LAST_S
        while len(lines := notes.read_text().split()) < samples + 20 and time.monotonic() < until:
            time.sleep(0.05)
    if len(lines) < samples:
        sys.exit(f"{library}: {len(lines)} of {samples + 20} jobs were run")
    found = quantiles([int(line) / 1e6 for line in lines[-samples:]], n=100)
    return {"p50_ms": found[49], "p99_ms": found[98], "jobs": len(lines)}


def measure(conn: Connection[Any], dsn: str, given: argparse.Namespace) -> dict[str, list[Figures]]:
    """Measure all libraries, round by round, the first one a place later each time."""
    found: dict[str, list[Figures]] = {library: [] for library in given.only}
    for number in range(given.rounds):
        turn = number % len(given.only)
        for library in (*given.only[turn:], *given.only[:turn]):
            with own_database(conn, dsn, library) as own, tempfile.TemporaryDirectory() as folder:
                if library == "fastq":
                    with database.connect(own, "peers") as its:
                        migrator.migrate(its)
                environ = {**os.environ, pinged.DSN_VARIABLE: own, pinged.NOTES_VARIABLE: f"{folder}/notes"}
                if library == "dramatiq":
                    sender(library, environ, "single", 1)  # its schema comes with its sender
                round_: Figures = latencies(library, environ, given.samples) if library in WORKERS else {}
                round_ |= json.loads(sender(library, environ, "single", given.singles))
                found[library].append(round_)
            print(f"round {number + 1}: {library}: {said(round_)}", flush=True)
    return found


def said(figures: Figures) -> str:
    late = f"p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms; " if "p50_ms" in figures else ""
    return f"{late}one by one {figures['jobs_per_s']:,.0f} jobs/s, {figures['cpu_us']:.0f} µs CPU of the client"


def main() -> None:
    """Measure, print the medians, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    with database.connect(dsn, "peers") as conn:
        conditions = machine.describe(conn)
        found = measure(conn, dsn, given)
    points = [{"library": lib, **{n: median(r[n] for r in rounds) for n in rounds[0]}} for lib, rounds in found.items()]
    for point in points:
        print(f"{point['library']:9} {said(point)}")
    if given.output is not None:
        command = " ".join(["python benchmarks/peers/latency.py", *own_arguments(sys.argv[1:])])
        names = ("fastq", "pgqueuer", "asyncpg", "taskiq", "taskiq-postgres", "dramatiq", "dramatiq-pg")
        libraries = {name: machine.version_of(name) for name in names}
        values = {"scenario": "peers-latency", "jobs": given.samples, "points": points, "command": command}
        values |= {"limit": "", "libraries": libraries, "samples": found, **conditions}
        print(f"wrote {result.save(values, given.output)}")


if __name__ == "__main__":
    main()
