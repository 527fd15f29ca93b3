"""Measures how long the pages of the dashboard take with ten million jobs waiting and a million that failed.

    python benchmarks/pages.py --waiting 10000000 --failed 1000000 --rounds 60 --output bench_results

Each page is asked for as a browser does, but in this process and past the answers that are shared: the time is that of
the questions, the template, and the framework.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

import fastq
from fastq import testing
from fastq.bench import machine, result
from fastq.dashboard import asgi
from fastq.postgres import database

PATHS = (
    "/",
    "/jobs",
    "/jobs?state=failed",
    "/jobs?q=args.n:7",
    "/queues",
    "/workers",
    "/doctor",
    "/job?id={ready}",
    "/job?id={failed}",
)

app = fastq.App()


@app.task(name="pages.nothing", queue="big")
async def nothing(n: int) -> None:
    """Wait in line."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=10_000_000)
    parser.add_argument("--failed", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-pages.json there")
    return parser.parse_args()


def fill(conn: Any, given: argparse.Namespace) -> dict[str, int]:
    """Put the jobs there; returns the ids of one that waits and one that failed."""
    with fastq.App(conn.info.dsn) as producer:
        ids = producer.enqueue_many_sync(nothing.job(n=n) for n in range(given.waiting))
    conn.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) select 0, nextval('fastq.pos'), 'failed', 4, 1, 1, 'big', '', 'pages.nothing', '{}',"
        ' \'{"errors": [{"type": "E", "message": "no"}]}\' from generate_series(1, %s)',
        [given.failed],
    )
    ((failed,),) = conn.execute("select max(id) from fastq.finished").fetchall()
    conn.execute("analyze")
    return {"ready": ids[given.waiting // 2], "failed": failed}


def main() -> None:
    """Fill, ask, print, write the file."""
    given = options()
    with (
        testing.server(os.environ.get("FASTQ_TEST_DSN")) as server,
        testing.template(server) as template,
        testing.database(server, template) as dsn,
        database.connect(dsn, "fastq pages bench") as conn,
    ):
        ids = fill(conn, given)
        figures = measure(dsn, ids, given.rounds)
        print(json.dumps(figures))
        if given.output is not None:
            command = f"python benchmarks/pages.py --waiting {given.waiting} --failed {given.failed}"
            whole = {"scenario": "pages", "waiting": given.waiting, "failed": given.failed, "pages_ms": figures}
            print(f"wrote {result.save({**whole, **machine.describe(conn), 'command': command}, given.output)}")


def measure(dsn: str, ids: dict[str, int], rounds: int) -> dict[str, dict[str, float]]:
    """Return p50 and p95 of each page in milliseconds."""
    found = {}
    for path in PATHS:
        times = []
        with TestClient(asgi(dsn)) as site:
            for number in range(rounds):
                began = time.perf_counter()
                answer = site.get(path.format(**ids) + f"{'&' if '?' in path else '?'}round={number}")
                times.append((time.perf_counter() - began) * 1000)
                assert answer.status_code == 200, (path, answer.text)
        times.sort()
        found[path] = {"p50": round(times[rounds // 2], 1), "p95": round(times[int(rounds * 0.95)], 1)}
    return found


if __name__ == "__main__":
    main()
