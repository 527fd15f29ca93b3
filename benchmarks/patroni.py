"""What a fail-over by Patroni costs: fifty single jobs a second go in, the leader goes away, each job says that it ran.

    python benchmarks/patroni.py --patroni …/bin/patroni --rounds 2 --output bench_results
    python benchmarks/patroni.py freeze --patroni …/bin/patroni

Starts an etcd and two nodes on loopback in a temporary folder (synchronous_mode, ttl 20, loop_wait 2), and a fleet of
two workers whose DSN names both. A coroutine enqueues fifty jobs a second whatever becomes of those before; a thread
enqueues one after the other. A witness on each node writes a row every 20 ms, without fastq: their longest gap is what
the engine itself costs. Patroni is no dependency: `pip install 'patroni[etcd3]' psycopg` in an environment of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path

import psycopg
from patroni_cluster import FAULTS, LEAST_TTL_S, Cluster, Node, Programs, until

import fastq
from fastq.bench import machine, result
from fastq.postgres import database
from fastq.schema import migrator

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
EVERY_S, STEADY_S, RETRY_S, PROCESSES = 0.02, 5.0, 120.0, 2
NUMBERS = 10_000_000
"""So many are a producer's own: a run tells whose job it was."""

Figures = dict[str, float]
Round = dict[str, object]


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"{', '.join(FAULTS)}; none: all, in turn")
    parser.add_argument("--rounds", type=int, default=1, help="of each")
    parser.add_argument("--ttl", type=int, default=LEAST_TTL_S, help="Patroni's, in seconds; it takes no less than 20")
    parser.add_argument("--patroni", help="the program, with patronictl beside it; else the one of PATH")
    parser.add_argument("--etcd", help="the program; else the one of PATH")
    parser.add_argument("--server-bin", type=Path, help="where initdb and postgres are; else as fastq finds them")
    parser.add_argument("--keep", type=Path, help="do it in this new folder and leave the logs there")
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-patroni-<fault>.json there")
    given = parser.parse_args()
    if wrong := set(given.faults) - set(FAULTS):
        parser.error(f"there is no fault {', '.join(wrong)}; there are {', '.join(FAULTS)}")
    if given.ttl < LEAST_TTL_S:
        parser.error(f"--ttl is {LEAST_TTL_S} or more")
    return given


class Witness(threading.Thread):
    """Writes a row every 20 ms to a node while that takes writes, as plainly as can be."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.node = node
        self.commits: list[float] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        """Write, connecting again whenever that is needed."""
        while not self.stopping.wait(EVERY_S):
            try:
                with psycopg.connect(self.node.dsn("app"), autocommit=True) as conn:
                    self._write(conn)
            except psycopg.Error:
                continue

    def _write(self, conn: psycopg.Connection) -> None:
        while not self.stopping.wait(EVERY_S):
            if conn.execute("select pg_is_in_recovery()").fetchone() == (False,):
                conn.execute("insert into witness default values")
                self.commits.append(time.monotonic())


class Producer(threading.Thread):
    """Enqueues until it is stopped, and writes down what it was told of each job."""

    def __init__(self, dsn: str, first: int) -> None:
        super().__init__()
        self.app = fastq.App(dsn, enqueue_retry_s=RETRY_S)
        self._task = self.app.task(queue="away", name="away_app.runs")(_runs)
        self.first = first
        self._numbers = iter(range(first, first + NUMBERS))
        self.told: dict[str, list[int]] = {"acknowledged": [], "unknown": [], "errors": []}
        self.answers: list[float] = []
        self.stopping = False

    def _note(self, n: int, exc: Exception | None) -> None:
        known = {type(None): "acknowledged", fastq.EnqueueOutcomeUnknown: "unknown"}
        what = known.get(type(exc), "errors")
        if exc is not None and not self.told[what]:
            print(f"{what}: {exc}", file=sys.stderr)
        self.told[what].append(n)
        if exc is None:
            self.answers.append(time.monotonic())


class Crowd(Producer):
    """From coroutines: one call every 20 ms, whatever becomes of those before."""

    def run(self) -> None:
        """Enqueue in an event loop."""
        asyncio.run(self._enqueue())

    async def _enqueue(self) -> None:
        async with self.app, asyncio.TaskGroup() as calls:
            due = time.monotonic()
            while not self.stopping:
                calls.create_task(self._one(next(self._numbers)))
                due += EVERY_S
                await asyncio.sleep(due - time.monotonic())

    async def _one(self, n: int) -> None:
        try:
            await self._task.enqueue(n=n)
        except fastq.FastqError as exc:
            self._note(n, exc)
        else:
            self._note(n, None)


class Single(Producer):
    """From a thread: one call after the other, 20 ms after the answer to the last one."""

    def run(self) -> None:
        """Enqueue synchronously."""
        with self.app:
            while not self.stopping:
                n = next(self._numbers)
                try:
                    self._task.enqueue_sync(n=n)
                except fastq.FastqError as exc:
                    self._note(n, exc)
                else:
                    self._note(n, None)
                time.sleep(EVERY_S)


async def _runs(n: int) -> None: ...


class Fleet:
    """A supervisor with its workers."""

    def __init__(self, folder: Path, dsn: str) -> None:
        (folder / "away_app.py").write_text(APP)
        self.runs, self._log = folder / "runs", folder / "fleet.log"
        self.runs.touch()
        env = {**os.environ, "FASTQ_DSN": dsn, "RUNS": str(self.runs), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "fastq", "worker", "away_app:app", "-p", str(PROCESSES)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=env, cwd=folder, stderr=log)
        until("the workers", lambda: self._log.read_text().count("is ready") >= PROCESSES)

    def stop(self) -> None:
        """Let it drain."""
        self._process.terminate()
        self._process.wait()


class Bench:
    """One cluster and one fleet, through any number of faults."""

    def __init__(self, cluster: Cluster, fleet: Fleet) -> None:
        self._cluster, self._fleet = cluster, fleet
        self._first = 0

    def round(self, fault: str) -> Round:
        """Let the leader go and come back while jobs go in; returns what came of it."""
        self._cluster.settle()
        leader = self._cluster.leader
        witnesses = [Witness(node) for node in self._cluster.nodes]
        producers = [kind(self._cluster.dsn, self._next()) for kind in (Crowd, Single)]
        for thread in (*witnesses, *producers):
            thread.start()
        try:
            moments = self._play(fault, leader, witnesses)
        finally:
            for producer in producers:
                producer.stopping = True
            for producer in producers:
                producer.join()
            for witness in witnesses:
                witness.stopping.set()
        until("all jobs to run", lambda: not self._left())
        lines = [line.split() for line in self._fleet.runs.read_text("ascii").splitlines()]
        ran = [(int(n), float(at)) for n, at in lines if int(n) >= producers[0].first]
        after = self._cluster.leader
        return {
            "leader": f"{leader.name} to {after.name}",
            **figures(producers, ran, sorted(chain(*(one.commits for one in witnesses))), moments["fault"]),
            "whole_after_s": round(moments["whole"] - moments["fault"], 1),
        }

    def _next(self) -> int:
        self._first += NUMBERS
        return self._first

    def _play(self, fault: str, leader: Node, witnesses: list[Witness]) -> dict[str, float]:
        """Return when the fault came, and when the cluster was whole again."""
        time.sleep(STEADY_S)
        moments = {"fault": time.monotonic()}
        self._cluster.hurt(leader, fault)

        def writes_again() -> bool:
            """The other node takes writes, or the same one that was killed."""
            return any(
                one.commits[-1:] > [moments["fault"] + 1.0]
                for one in witnesses
                if one.node is not leader or fault == "kill"
            )

        until("writes to be taken again", writes_again)
        time.sleep(STEADY_S)
        self._cluster.mend(leader, fault)
        self._cluster.settle()
        moments["whole"] = time.monotonic()
        time.sleep(STEADY_S)
        return moments

    def _left(self) -> int:
        """Return how many jobs are not through."""
        with database.connect(self._cluster.dsn) as conn:
            queries = ("select count(*) from fastq.ready", "select count(*) from fastq.lease")
            return sum(int((conn.execute(query.encode()).fetchone() or (0,))[0]) for query in queries)


def figures(producers: Sequence[Producer], ran: list[tuple[int, float]], commits: list[float], fault: float) -> Figures:
    """Return what the producers were told, what ran, and for how long there was nothing."""
    told = {what: [n for one in producers for n in one.told[what]] for what in producers[0].told}
    times = Counter(n for n, _ in ran)
    engine_s, again = longest(commits)
    gaps = {
        "gap_coroutines_s": longest(producers[0].answers)[0],
        "gap_thread_s": longest(producers[1].answers)[0],
        "gap_runs_s": longest([at for _, at in ran])[0],
    }
    return {
        "calls": sum(map(len, told.values())),
        **{what: len(numbers) for what, numbers in told.items()},
        "unknown_ran": sum(1 for n in told["unknown"] if n in times),
        "lost": sum(1 for n in told["acknowledged"] if n not in times),
        "twice": sum(1 for count in times.values() if count > 1),
        "engine_gap_s": round(engine_s, 2),
        "engine_writes_after_s": round(again - fault, 2),
        **{name: round(gap, 2) for name, gap in gaps.items()},
        "over_engine_s": round(max(gaps.values()) - engine_s, 2),
    }


def longest(moments: list[float]) -> tuple[float, float]:
    """Return the longest time between two neighbours, and when it was over."""
    return max((later - earlier, later) for earlier, later in pairwise(sorted(moments)))


def measure(given: argparse.Namespace, folder: Path, programs: Programs) -> None:
    """Measure each fault, say it, write its file."""
    cluster = Cluster(folder, programs, given.ttl)
    try:
        cluster.open()
        with database.connect(cluster.dsn) as conn:
            migrator.migrate(conn)
        with psycopg.connect(cluster.leader.dsn("app")) as conn:
            conn.execute("create table witness (at timestamptz default now())")
        fleet = Fleet(folder, cluster.dsn)
        try:
            bench = Bench(cluster, fleet)
            for fault in given.faults or FAULTS:
                with database.connect(cluster.dsn) as conn:
                    conditions = {**machine.describe(conn), "engine": programs.versions() | cluster.settings}
                rounds = []
                for number in range(given.rounds):
                    rounds.append(bench.round(fault))
                    print(fault, number, rounds[-1], flush=True)
                save(given, fault, rounds, conditions)
        finally:
            fleet.stop()
    finally:
        cluster.close()


def save(given: argparse.Namespace, fault: str, rounds: list[Round], conditions: Round) -> None:
    """Write one fault's file, if that is wanted: the worst of its rounds, then each of them."""
    if given.output is None:
        return
    worst = {name: max(float(str(one[name])) for one in rounds) for name in ("lost", "twice", "over_engine_s")}
    scenario = f"patroni-{fault}" if given.ttl == LEAST_TTL_S else f"patroni-{fault}-ttl-{given.ttl}"
    found = {"scenario": scenario, "fault": FAULTS[fault], **worst, "rounds": rounds}
    times = f" --ttl {given.ttl}" if given.ttl != LEAST_TTL_S else ""
    command = " ".join(["python benchmarks/patroni.py", *given.faults, f"--rounds {given.rounds}{times}"])
    print(f"wrote {result.save({**found, **conditions, 'command': command}, given.output)}")


def main() -> None:
    """Find the programs and a folder, and measure there."""
    given = options()
    programs = Programs(given.patroni, given.etcd, given.server_bin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # it ends what it has started
    if given.keep is not None:
        given.keep.mkdir()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="fastq-patroni-"))
    try:
        measure(given, folder.resolve(), programs)
    finally:
        if given.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
