"""Measures how fast the jobs of a batch handler are drained, beside the same jobs one by one.

    python benchmarks/batched.py --jobs 500000 --rounds 3 --output bench_results

The queue is filled by `enqueue_many` while it is paused, a real `fastq worker` comes up, and the clock runs from the
resume until nothing is ready or claimed.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median

from workers import drained_per_s

import fastq
from fastq import testing
from fastq.bench import machine, result
from fastq.postgres import database

BATCHED, SINGLE = "batched", "single"

app = fastq.App()


@app.task(queue=BATCHED, name="batched.many", batch=500)
async def many(items: list[fastq.BatchItem]) -> None:
    """Do nothing, for up to 500 jobs at once."""


@app.task(queue=SINGLE, name="batched.one")
async def one(user_id: int, email: str) -> None:
    """Do nothing, for one."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-batched.json there")
    return parser.parse_args()


def main() -> None:
    """Alternate, print, write the file."""
    given = options()
    rounds: list[dict[str, float]] = []
    with testing.server(os.environ.get("FASTQ_TEST_DSN")) as server, testing.template(server) as template:
        for number in range(given.rounds):
            found: dict[str, float] = {}
            for task in (many, one):
                queue = task.defaults.queue
                with testing.database(server, template) as dsn, database.connect(dsn, "fastq batched bench") as conn:
                    conn.execute("select fastq.pause(%s)", [queue])
                    with fastq.App(dsn) as producer:
                        producer.enqueue_many_sync(
                            task.job(user_id=n, email=f"someone.{n % 1009}@example.com") for n in range(given.jobs)
                        )
                    conn.execute("checkpoint")
                    found[f"{queue}_per_s"] = drained_per_s(
                        conn, dsn, "batched:app", queue, given.jobs, given.processes
                    )
            rounds.append(found)
            print(f"round {number + 1}: {json.dumps(found)}", flush=True)
        medians = {key: median(r[key] for r in rounds) for key in rounds[0]}
        print(json.dumps(medians, indent=2))
        if given.output is not None:
            with testing.database(server, template) as dsn, database.connect(dsn, "fastq batched bench") as conn:
                conditions = machine.describe(conn)
            command = f"python benchmarks/batched.py --jobs {given.jobs} --rounds {given.rounds}"
            whole = {"scenario": "batched", "jobs": given.jobs, **medians, "samples": rounds, **conditions}
            print(f"wrote {result.save({**whole, 'command': command}, given.output)}")


if __name__ == "__main__":
    main()
