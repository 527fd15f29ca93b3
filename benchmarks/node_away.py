"""What happens while a node of a cluster is away: single jobs go in one after the other, each writes down that it ran.

    python benchmarks/node_away.py "host=… port=…" --stop "pg_ctl … stop -m immediate" --start "pg_ctl … start"

The DSN is the coordinator's, with a schema that `fastq migrate --citus` has made. It says how many enqueues were
acknowledged, refused or of unknown outcome, how many acknowledged jobs did not run, or ran twice, and the longest time
in which none ran, and in which no enqueue was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

from workers import start, stop

import fastq
from fastq.bench import machine, result
from fastq.postgres import database

APP = """
import os
import time

import fastq

app = fastq.App()
out = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND)


@app.task(queue="away")
async def runs(n: int) -> None:
    os.write(out, b"%d %f\\n" % (n, time.monotonic()))
"""
EVERY_S, SETTLES_S = 0.02, 60.0
Figures = dict[str, float]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn")
    parser.add_argument("--stop", required=True, help="command that takes the node away")
    parser.add_argument("--start", required=True, help="command that brings it back")
    parser.add_argument("--away", type=float, default=60.0, help="seconds")
    parser.add_argument("--around", type=float, default=10.0, help="seconds before and after")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-node-away.json there")
    return parser.parse_args()


async def _runs(n: int) -> None: ...


class Producer:
    """Enqueues one job every 20 ms, one after the other."""

    def __init__(self, dsn: str) -> None:
        self.app = fastq.App(dsn)
        self._task = self.app.task(queue="away", name="away_app.runs")(_runs)
        self.outcomes: Counter[str] = Counter()
        self.acknowledged: list[int] = []
        self.answers: list[float] = []

    async def run(self, until: float) -> None:
        """Enqueue until then."""
        n = 0
        async with self.app:
            while time.monotonic() < until:
                n += 1
                try:
                    await self._task.enqueue(n=n)
                except fastq.EnqueueOutcomeUnknown as exc:
                    self._note("unknown", exc)
                except fastq.FastqError as exc:
                    self._note("refused", exc)
                else:
                    self.outcomes["acknowledged"] += 1
                    self.acknowledged.append(n)
                self.answers.append(time.monotonic())
                await asyncio.sleep(EVERY_S)

    def _note(self, what: str, exc: Exception) -> None:
        if not self.outcomes[what]:
            print(f"{what}: {exc}", file=sys.stderr)
        self.outcomes[what] += 1


async def play(given: argparse.Namespace, producer: Producer) -> None:
    """Let the node go and come while jobs go in."""
    putting = asyncio.create_task(producer.run(time.monotonic() + 2 * given.around + given.away))
    await asyncio.sleep(given.around)
    await asyncio.to_thread(subprocess.run, given.stop, shell=True, check=True)
    await asyncio.sleep(given.away)
    await asyncio.to_thread(subprocess.run, given.start, shell=True, check=True)
    await putting


def left(dsn: str) -> int:
    """Return how many jobs are not through."""
    with database.connect(dsn) as conn:
        queries = ("select count(*) from fastq.ready where queue = 'away'", "select count(*) from fastq.lease")
        return sum(int((conn.execute(query.encode()).fetchone() or (0,))[0]) for query in queries)


def figures(producer: Producer, lines: list[str]) -> Figures:
    """Return what came of it."""
    ran = Counter(int(line.split()[0]) for line in lines)
    times = sorted(float(line.split()[1]) for line in lines)
    return {
        **producer.outcomes,
        "lost": sum(1 for n in producer.acknowledged if n not in ran),
        "twice": sum(1 for times_run in ran.values() if times_run > 1),
        "longest_without_a_run_s": round(max(b - a for a, b in pairwise(times)), 2),
        "longest_answer_s": round(max(b - a for a, b in pairwise(producer.answers)), 2),
    }


def main() -> None:
    """Measure, say it, write the file."""
    given = options()
    with tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), Path(name) / "runs"
        (folder / "away_app.py").write_text(APP)
        runs.touch()
        env = {"PYTHONPATH": os.pathsep.join([name, *filter(None, sys.path)]), "RUNS": str(runs)}
        producer, fleet = Producer(given.dsn), start(given.dsn, "away_app:app", 2, env=env)
        try:
            asyncio.run(play(given, producer))
            until = time.monotonic() + SETTLES_S
            while left(given.dsn) and time.monotonic() < until:
                time.sleep(1.0)
        finally:
            stop(fleet)
        found = figures(producer, runs.read_text("ascii").splitlines())
    print(found)
    if given.output is not None:
        with database.connect(given.dsn) as conn:
            conditions = machine.describe(conn)
        command = f"python benchmarks/node_away.py COORDINATOR --stop … --start … --away {given.away:g}"
        print(
            f"wrote {result.save({'scenario': 'node-away', **found, **conditions, 'command': command}, given.output)}"
        )


if __name__ == "__main__":
    main()
