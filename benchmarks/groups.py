"""Measures how groups are drained: many small ones beside the same jobs without groups, a lone job beside a big one.

    python benchmarks/groups.py --groups 20000 --each 5 --rounds 3 --output bench_results

Many: the queue is filled while it is paused, a real `fastq worker` comes up, and the clock runs from the resume until
nothing is ready or claimed. Lone: while a tenant's many jobs are drained, single jobs of other groups are enqueued, one
after the other; each notes when it started.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from workers import drained_per_s, start, stop

import fastq
from fastq import testing
from fastq.bench import machine, result
from fastq.postgres import database

QUEUE = "groups"

app = fastq.App()


@app.task(queue=QUEUE, name="groups.nothing")
async def nothing() -> None:
    """Do nothing: the groups are what is measured."""


@app.task(queue=QUEUE, name="groups.step", ordered=True)
async def step() -> None:
    """Do nothing, one after the other."""


@app.task(queue=QUEUE, name="groups.lone")
async def lone(ctx: fastq.Context) -> None:
    """Note when it started, by this host's clock, which is the database's too."""
    started = time.time()
    async with ctx.transaction() as conn:
        await conn.execute("insert into ran values (%s, to_timestamp(%s))", [ctx.id, started])


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=20_000)
    parser.add_argument("--each", type=int, default=5, help="jobs per group")
    parser.add_argument("--tenant", type=int, default=500_000, help="jobs of the one big group; 0 leaves this part out")
    parser.add_argument("--lone", type=int, default=20, help="single jobs beside it")
    parser.add_argument("--lines", type=int, default=500, help="ordered groups; 0 leaves them out")
    parser.add_argument("--ordered", type=int, default=10_000, help="their jobs in all; one line alone has a twentieth")
    parser.add_argument("--bulk", choices=("mixed", "sorted"), help="enqueue_many, instead of a row for each job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-groups.json there")
    return parser.parse_args()


def fill(conn: Any, groups: int, each: int, prefix: str, bulk: str | None = None) -> None:
    """Put jobs into a paused queue, the groups' jobs mixed or sorted; no prefix: all without a group."""
    conn.execute("select fastq.pause(%s)", [QUEUE])
    if bulk is not None:
        of = [nothing.options(group_key=prefix and f"{prefix}{g}") for g in range(groups)]
        jobs = groups * each
        with fastq.App(conn.info.dsn) as producer:
            started = time.monotonic()
            spread = (n % groups if bulk == "mixed" else n // each for n in range(jobs))
            producer.enqueue_many_sync(of[g].job() for g in spread)
            print(f"enqueued {jobs / (time.monotonic() - started):,.0f}/s", end="; ", flush=True)
        conn.execute("vacuum analyze fastq.ready")
        conn.execute("checkpoint")
        return
    conn.execute(
        "insert into fastq.ready (segment, shard, queue, group_key, task)"
        " select 0, 0, %s, case when %s = '' then '' else %s || g end, 'groups.nothing'"
        " from generate_series(1, %s) n, generate_series(1, %s) g",
        [QUEUE, prefix, prefix, each, groups],
    )
    conn.execute("vacuum analyze fastq.ready")
    conn.execute("checkpoint")


def fill_lines(conn: Any, dsn: str, lines: int, each: int) -> None:
    """Put ordered jobs into a paused queue."""
    conn.execute("select fastq.pause(%s)", [QUEUE])
    producer = fastq.App(dsn)
    with producer:
        producer.enqueue_many_sync(step.options(group_key=f"g{n % lines}").job() for n in range(lines * each))
    conn.execute("vacuum analyze fastq.ready, fastq.line, fastq.head")
    conn.execute("checkpoint")


def lone_jobs(conn: Any, dsn: str, given: argparse.Namespace) -> dict[str, float]:
    """Return how long single jobs waited beside a big tenant's."""
    conn.execute("create table if not exists ran (id int8 primary key, at timestamptz)")
    fill(conn, 1, given.tenant, "tenant")
    workers, waits = start(dsn, "groups:app", given.processes, env={}), []
    try:
        conn.execute("select fastq.resume(%s)", [QUEUE])
        for n in range(given.lone):
            time.sleep(0.05)
            if not conn.execute("select from fastq.ready where group_key = 'tenant1' limit 1").fetchall():
                sys.exit(f"the tenant's jobs were gone after {n} lone ones: give more --tenant")
            ((job, at),) = conn.execute(
                "select fastq.enqueue('groups.lone', queue => %s, group_key => %s), clock_timestamp()", [QUEUE, f"l{n}"]
            ).fetchall()
            while not (found := conn.execute("select at from ran where id = %s", [job]).fetchall()):
                time.sleep(0.001)
            waits.append((found[0][0] - at).total_seconds() * 1000)
        return {"lone_p50_ms": round(median(waits), 1), "lone_most_ms": round(max(waits), 1)}
    finally:
        stop(workers)
        conn.execute("truncate fastq.ready_0")


def main() -> None:
    """Alternate, print, write the file."""
    given = options()
    with testing.server(os.environ.get("FASTQ_TEST_DSN")) as server, testing.template(server) as template:
        rounds: list[dict[str, float]] = []
        for number in range(given.rounds):
            found: dict[str, float] = {}
            for name, prefix in (("plain_per_s", ""), ("groups_per_s", "g")):
                with testing.database(server, template) as dsn, database.connect(dsn, "fastq groups bench") as conn:
                    fill(conn, given.groups, given.each, prefix, given.bulk)
                    found[name] = drained_per_s(
                        conn, dsn, "groups:app", QUEUE, given.groups * given.each, given.processes
                    )
            found["share"] = round(found["groups_per_s"] / found["plain_per_s"], 3)
            for name, lines in () if not given.lines else (("one_line_per_s", 1), ("lines_per_s", given.lines)):
                with testing.database(server, template) as dsn, database.connect(dsn, "fastq groups bench") as conn:
                    each = max(1, given.ordered // given.lines) if lines > 1 else given.ordered // 20
                    fill_lines(conn, dsn, lines, each)
                    found[name] = drained_per_s(conn, dsn, "groups:app", QUEUE, lines * each, given.processes)
            if given.tenant:
                with testing.database(server, template) as dsn, database.connect(dsn, "fastq groups bench") as conn:
                    found |= lone_jobs(conn, dsn, given)
            rounds.append(found)
            print(f"round {number + 1}: {json.dumps(found)}", flush=True)
        medians = {key: median(r[key] for r in rounds) for key in rounds[0]}
        print(json.dumps(medians, indent=2))
        if given.output is not None:
            with testing.database(server, template) as dsn, database.connect(dsn, "fastq groups bench") as conn:
                conditions = machine.describe(conn)
            jobs = given.groups * given.each
            bulk = f" --bulk {given.bulk}" if given.bulk else ""
            command = (
                f"python benchmarks/groups.py --groups {given.groups} --each {given.each} --rounds {given.rounds}{bulk}"
            )
            whole = {"scenario": "groups", "jobs": jobs, **medians, "samples": rounds, **conditions, "command": command}
            print(f"wrote {result.save(whole, given.output)}")


if __name__ == "__main__":
    main()
