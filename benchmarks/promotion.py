"""Measures how late jobs are promoted that are all due at one instant, with and without workers that drain them.

    python benchmarks/promotion.py --jobs 100000 --rounds 3 --output bench_results

The jobs wait in fastq.scheduled for an instant some seconds ahead; a real `fastq worker` is up, whose steward promotes.
Idle: workers leave the queue alone; a session counts what has been committed to ready, the new rows only, every 2 ms,
by the database's clock. Draining: each job's handler notes when it runs, by this host's clock, whose difference to the
database's is taken before; `direct` is the same number of jobs that were ready from the start, for comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from workers import start, stop

import fastq
from fastq.bench import machine, result
from fastq.config import PacketConfig, find_dsn
from fastq.postgres import database
from fastq.protocol import copying
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.enqueue import PACKET
from fastq.protocol.packing import Packer
from fastq.schema import migrator
from fastq.sql import statement

QUEUE = "promotion"
PATIENCE_S = 120.0
NEW = """select extract(epoch from clock_timestamp() - %s)::float8, coalesce(sum(coalesce(jobs, 1)), 0)::int, max(pos)
 from fastq.ready
 where shard = 0 and queue = %s and priority = 4 and group_key = '' and pos > %s"""

app = fastq.App()


NOTES = os.environ.get("PROMOTION_NOTES")
notes = open(f"{NOTES}/{os.getpid()}", "ab", buffering=0) if NOTES else None  # noqa: SIM115, PTH123 - until the end


@app.task(queue=QUEUE, name="promotion.note")
async def note(n: int) -> None:  # noqa: ARG001 - a job has arguments
    assert notes is not None
    notes.write(struct.pack("d", time.time()))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-p", "--processes", type=int, default=2)
    parser.add_argument("--ahead", type=float, default=8.0, help="seconds from the fill to the due instant")
    parser.add_argument("--singles", action="store_true", help="a row for each job, instead of enqueue_many")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-promotion.json there")
    return parser.parse_args()


def fill(conn: Any, jobs: int, ahead_s: float, *, singles: bool) -> Any:
    """Schedule the jobs for one instant, and return it."""
    clean(conn)
    ((due,),) = conn.execute("select clock_timestamp() + %s * interval '1 second'", [ahead_s]).fetchall()
    packet = PacketConfig(jobs=1) if singles else PACKET
    later = note.options(run_at=due)
    packer = Packer(shard=0, limit_bytes=app.payload_limit_bytes, packet=packet)
    carry_out_sync(conn, copying.copy_jobs((later.job(n=n) for n in range(jobs)), packer))
    conn.execute("vacuum analyze fastq.scheduled, fastq.ready")
    conn.execute("checkpoint")
    return due


def clean(conn: Any) -> None:
    """Delete what an earlier round left."""
    conn.execute("delete from fastq.scheduled where queue = %s", [QUEUE])
    conn.execute("delete from fastq.ready where queue = %s", [QUEUE])


def percentiles(late_s: list[float]) -> dict[str, float]:
    """Return when which share had come, in milliseconds; the lateness of each job is given in order."""
    last = len(late_s) - 1
    ranks = {"first_ms": 0, "p50_ms": last // 2, "p90_ms": last * 9 // 10, "p99_ms": last * 99 // 100, "last_ms": last}
    return {name: round(late_s[rank] * 1000, 1) for name, rank in ranks.items()}


def committed(conn: Any, due: Any, jobs: int) -> list[float]:
    """Return how late each job was seen in ready, in seconds."""
    late: list[float] = []
    low, deadline = 0, time.monotonic() + PATIENCE_S
    while len(late) < jobs:
        if time.monotonic() > deadline:
            sys.exit(f"after {PATIENCE_S:.0f} s only {len(late)} of {jobs} jobs are promoted")
        ((at, count, high),) = conn.execute(NEW, [due, QUEUE, low]).fetchall()
        late += [at] * count
        low = high or low
        time.sleep(0.002)
    return late


def noted(folder: str, jobs: int, due_s: float) -> list[float]:
    """Return how late each job ran, in seconds after this host's time `due_s`."""
    deadline = time.monotonic() + PATIENCE_S
    while sum(path.stat().st_size for path in Path(folder).iterdir()) < jobs * 8:
        if time.monotonic() > deadline:
            sys.exit(f"after {PATIENCE_S:.0f} s not all of {jobs} jobs have run")
        time.sleep(0.02)
    ran = (found for path in Path(folder).iterdir() for found in struct.iter_unpack("d", path.read_bytes()))
    return sorted(at - due_s for (at,) in ran)


def ahead_of_database_s(conn: Any) -> float:
    """Return what this host's clock shows more than the database's, by the quickest of some answers."""
    found = []
    for _ in range(20):
        before = time.time()
        ((theirs,),) = conn.execute("select extract(epoch from clock_timestamp())::float8").fetchall()
        after = time.time()
        found.append((after - before, (before + after) / 2 - theirs))
    return min(found)[1]


def leader_cpu_s(conn: Any) -> float:
    """Return the CPU time of the leader's server process; 0 where the server's processes are not visible from here."""
    row = conn.execute("select pid from pg_stat_activity where application_name = 'fastq leader'").fetchone()
    stat = Path(f"/proc/{row[0] if row else 0}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(dsn: str, given: argparse.Namespace, scenario: str) -> dict[str, float]:
    """Run one round."""
    drain = scenario != "idle"
    with database.connect(dsn, "fastq promotion bench") as conn, tempfile.TemporaryDirectory() as notes:
        due = fill(conn, given.jobs, given.ahead, singles=given.singles)
        if scenario == "direct":
            conn.execute("update fastq.scheduled set run_at = now() where queue = %s", [QUEUE])
            text = statement("promote_due_jobs").replace("%(shard)s", "0").replace("%(limit)s", str(given.jobs))
            conn.execute(text.replace("%(since)s", "'-infinity'").encode())
            conn.execute("insert into fastq.queue (name, paused) values (%s, true)", [QUEUE])
        leave = () if drain else ("-X", QUEUE)
        workers = start(dsn, "promotion:app", given.processes, *leave, env={"PROMOTION_NOTES": notes})
        try:
            if scenario == "direct":
                conn.execute("delete from fastq.queue where name = %s", [QUEUE])
                ((due,),) = conn.execute("select clock_timestamp()").fetchall()
                conn.execute("notify fastq")
            elif conn.execute("select clock_timestamp() > %s - interval '1 s'", [due]).fetchone() == (True,):
                sys.exit("the workers came too late: give more --ahead")
            spent_s = leader_cpu_s(conn)
            late = (
                noted(notes, given.jobs, due.timestamp() + ahead_of_database_s(conn))
                if drain
                else committed(conn, due, given.jobs)
            )
            cpu_us = round((leader_cpu_s(conn) - spent_s) * 1e6 / given.jobs, 2)
            rate = round(len(late) / max(late[-1] - late[0], 0.001))
            return {**percentiles(late), "per_s": rate, "promoter_cpu_us_per_job": cpu_us}
        finally:
            stop(workers)
            clean(conn)


def main() -> None:
    """Alternate, print, write the file."""
    given = options()
    dsn = os.environ.get("DSN") or database.reachable(find_dsn())
    with database.connect(dsn, "fastq promotion bench") as conn:
        migrator.check(conn)
        conditions = machine.describe(conn)
    rounds: dict[str, list[dict[str, float]]] = {"idle": [], "draining": [], "direct": []}
    for number in range(given.rounds):
        for name, found in rounds.items():
            found.append(measure(dsn, given, name))
            print(f"round {number + 1} {name}: {json.dumps(found[-1])}", flush=True)
    medians = {name: {key: median(r[key] for r in found) for key in found[0]} for name, found in rounds.items()}
    print(json.dumps(medians, indent=2))
    if given.output is not None:
        command = f"python benchmarks/promotion.py --jobs {given.jobs} --rounds {given.rounds} -p {given.processes}"
        whole = {"scenario": "promotion", "jobs": given.jobs, **medians, "samples": rounds, **conditions}
        whole["command"] = f"{command} --ahead {given.ahead:g}"
        print(f"wrote {result.save(whole, given.output)}")


if __name__ == "__main__":
    main()
