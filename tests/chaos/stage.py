"""One cell on stage: a cluster, two fleets, two producers, and faults; then the silence after."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from line import Line

from chaos import silence
from chaos.cells import Cell
from chaos.cluster import Cluster
from chaos.crowd import Crowd
from chaos.faults import Fault
from chaos.fleet import Fleet, environment_for, signal_all
from chaos.jobs import LIMITED, RETRY
from chaos.kinds import EACH, LIGHT
from chaos.ledger import Ledger
from chaos.rules import MOST_RUNNING
from chaos.verdict import Played
from fastq.protocol import limits

FLOW_JOBS = 100
PATIENCE_S = 60.0
SHUTDOWN_S = 10
EXCUSED_S = 20.0
STOCK_EVERY_S = 0.5
RETRY_S = 20.0
"""The synchronous producer waits so long for a database that is away; the other one is told at once."""

WORKERS = 3
SEATS = ("A", "B")
Progress = Callable[["Stage", str], None]


class Stage:
    """Sets a cell up and plays it; silence.py has what comes after. `open play close`."""

    def __init__(self, cell: Cell, seed: int, folder: Path, progress: Progress) -> None:
        self.cell = cell
        self.seed = seed
        self.rng = random.Random(f"{seed} {cell.name}")
        self.folder = folder
        self.cluster = Cluster(folder, standby=cell.standby)
        self.ledger = Ledger(folder)
        self.seats: dict[str, Fleet] = {}
        self.fleets: list[Fleet] = []
        self.producers: list[subprocess.Popen[bytes]] = []
        self.lines: dict[str, list[Line]] = {}
        self.faults: list[Fault] = []
        self.troubles: list[str] = []
        self.gave_up: Counter[str] = Counter()
        self.at_last: list[Callable[[], object]] = []
        self.load_s = 0.0
        self._stock_at = 0.0
        self._timers: list[tuple[float, Callable[[], object]]] = []
        self._progress = progress
        self.shared_before = silence.shared_memory()
        self.crowd = Crowd(folder, seed) if cell.strangers else None

    # -- setting up

    def open(self) -> None:
        """Start the database, two fleets and two producers."""
        self.cluster.open()
        for who in (*SEATS, "producers") if self.cell.proxied else ():
            self.lines[who] = [_opened(server.port) for server in self.cluster.servers]
        self._migrate()
        for seat in SEATS:
            self._start(seat)
        for fleet in self.fleets:
            self.wait(f"{fleet.name} to get ready", partial(_is_ready, fleet))
        for sync in (False, True):
            self._produce(sync=sync)
        if self.crowd is not None:
            with self.admin() as conn:
                self.crowd.open(conn, self.cluster.dsn())

    def _migrate(self) -> None:
        command = [sys.executable, "-m", "fastq", "migrate"]
        env = environment_for(self.cluster.dsn(), self.folder)
        subprocess.run(command, env=env, check=True, capture_output=True)
        with psycopg.connect(self.cluster.dsn(), autocommit=True) as conn:
            conn.execute("create table effect (number int8 not null, pid int not null)")
            limits.set_queue(conn, LIMITED, max_running=MOST_RUNNING)

    def dsn_of(self, who: str) -> str:
        """Return the DSN that a fleet or the producers get."""
        return self.cluster.dsn([line.port for line in self.lines[who]] if self.lines else None)

    def _start(self, seat: str) -> Fleet:
        options = ["-p", str(WORKERS), "-c", "20", "--threads", "4", "--no-pin", "--poll-interval", "0.5"]
        options += ["--lease", str(self.cell.lease_s), "--shutdown-timeout", str(SHUTDOWN_S)]
        fleet = Fleet(f"{seat}{len(self.fleets)}", self.dsn_of(seat), self.folder, options)
        self.seats[seat] = fleet
        self.fleets.append(fleet)
        return fleet

    def _produce(self, *, sync: bool, jobs: int | None = None) -> None:
        first = (len(self.producers) + 1) * EACH + (LIGHT if self.cell.light else 0)
        share = self.cell.jobs // 2 if jobs is None else jobs
        command = [sys.executable, "-m", "chaos.producer", "--first", str(first), "--rate", str(self.cell.rate)]
        command += ["--seed", str(self.rng.randrange(2**31)), "--jobs", str(share), *(["--sync"] if sync else [])]
        with (self.folder / f"producer-{first}.log").open("wb") as log:
            env = environment_for(self.dsn_of("producers"), self.folder) | {RETRY: str(RETRY_S if sync else 0.0)}
            self.producers.append(
                subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
            )

    # -- what faults ask for

    def admin(self) -> psycopg.Connection[Any]:
        """Open a superuser's connection to the server that takes writes."""
        return self.cluster.primary.connect()

    def newest_lease(self) -> int:
        """Return the id of the newest lease, so that a crash can be told what it undid; 0 if nobody answers."""
        with suppress(psycopg.OperationalError), self.admin() as conn:
            row = conn.execute("select last_value from fastq.lease_id").fetchone()
            return int(row[0]) if row else 0
        return 0

    def a_fleet(self) -> Fleet:
        """Return the fleet of a random seat."""
        return self.seats[self.rng.choice(SEATS)]

    def replace(self, fleet: Fleet) -> Fleet:
        """Start a successor in the seat of a fleet that has gone, or goes."""
        seat = fleet.name[0]
        return self._start(seat) if self.seats[seat] is fleet else self.seats[seat]

    def kill_producer(self, rng: random.Random) -> None:
        """Kill one producer and start another, for as many jobs as it owed."""
        living = [i for i, producer in enumerate(self.producers) if producer.poll() is None]
        if not living:
            return
        place = rng.choice(living)
        self.producers[place].kill()
        self.producers[place].wait()
        owed = 0
        if self.cell.jobs:
            self.ledger.read()
            owed = self.cell.jobs - len(self.ledger.told.acked) - self._still_owed(except_for=place)
            if owed <= 0:
                return
        alone = not any(producer.poll() is None and "--sync" not in producer.args for producer in self.producers)
        self._produce(sync=not alone and rng.random() < 0.5, jobs=owed)

    def _still_owed(self, except_for: int) -> int:
        """Return how many jobs the living producers have yet to enqueue."""
        owed = 0
        for place, producer in enumerate(self.producers):
            if place == except_for or producer.poll() is not None:
                continue
            command = list(map(str, producer.args))  # type: ignore[arg-type]
            first, share = (int(command[command.index(name) + 1]) for name in ("--first", "--jobs"))
            owed += share - self.ledger.acked_from(first)
        return owed

    def take_stock(self) -> None:
        """Remember who lives, so that the verdict knows whose runs were whose."""
        self._stock_at = time.monotonic() + STOCK_EVERY_S
        for fleet in self.seats.values():
            fleet.processes()

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something in a while."""
        self._timers.append((time.monotonic() + seconds, do))

    def when(self, what: str, check: Callable[[], object], do: Callable[[], object]) -> None:
        """Do something once a check holds; what does not come in time is trouble."""
        deadline = time.monotonic() + PATIENCE_S

        def look() -> None:
            if check():
                do()
            elif time.monotonic() > deadline:
                self.troubles.append(f"waited {PATIENCE_S:.0f} s in vain for {what}")
            else:
                self.later(0.05, look)

        look()

    def wait(self, what: str, check: Callable[[], object], patience_s: float = PATIENCE_S) -> bool:
        """Wait for something, keeping house meanwhile; what did not come is trouble, not an exception."""
        deadline = time.monotonic() + patience_s
        while not check():
            if time.monotonic() > deadline:
                self.troubles.append(f"waited {patience_s:.0f} s in vain for {what}")
                return False
            self.tend()
            time.sleep(0.02)
        return True

    # -- playing

    def play(self) -> None:
        """Once jobs flow, let faults happen until the time is over, or all jobs are enqueued."""
        self.wait("the first jobs to run", self._flows)
        began = time.monotonic()
        next_at = began + min(1.0, self.cell.every_s)
        while not self._over(began):
            self.tend()
            if time.monotonic() >= next_at:
                self._injure()
                next_at = max(next_at + self.cell.every_s, time.monotonic() + 0.05)
            self.show()
            time.sleep(0.02)
        self.load_s = time.monotonic() - began

    def _flows(self) -> bool:
        self.ledger.read()
        return len(self.ledger.ended) >= FLOW_JOBS

    def _injure(self) -> None:
        """Let one fault happen: another one, if that which was drawn cannot happen right now."""
        before = len(self.faults)
        for _ in range(20 if self.cell.faults else 0):
            fault = self.rng.choice(self.cell.faults)
            self._progress(self, fault.__name__)
            fault(self, self.rng)
            if len(self.faults) > before:
                return

    def _over(self, began: float) -> bool:
        """Tell whether it is time for the silence: of a number of jobs, nearly all have run under faults."""
        if self.cell.most and len(self.faults) >= self.cell.most:
            return True
        if self.cell.seconds:
            return time.monotonic() >= began + self.cell.seconds
        if any(producer.poll() is None for producer in self.producers):
            return False
        return len(self.ledger.ended) >= 0.999 * len(self.ledger.told.acked)

    def tend(self) -> None:
        """Do what is due; be the init of orphans; start a supervisor again that left by itself."""
        now = time.monotonic()
        due = [do for at, do in self._timers if at <= now]
        self._timers = [(at, do) for at, do in self._timers if at > now]
        for do in due:
            do()
        if now >= self._stock_at:
            self.take_stock()
        for fleet in self.fleets:
            fleet.reap_orphans()
        for fleet in list(self.seats.values()):
            if not fleet.leaving and not fleet.alive:
                fleet.leaving = True
                self._note_exit(fleet.name, fleet.process.returncode)
                self.later(0.5, partial(self.replace, fleet))

    def _note_exit(self, name: str, code: int) -> None:
        """Judge a supervisor that left by itself: 3 is for a database away at the start, 6 for a crash loop."""
        recent = [fault for fault in self.faults if fault.ended >= time.monotonic() - EXCUSED_S]
        away = any(fault.everyone or fault.name == "deaf" for fault in recent)
        killed = any(fault.name == "repeated kills" for fault in recent)
        if (code == 3 and away) or (code == 6 and killed):
            self.gave_up[f"exit code {code}"] += 1
        else:
            self.troubles.append(f"supervisor {name} left by itself with exit code {code}")

    def heal(self) -> None:
        """Let everything end that a fault has begun."""
        while self._timers or self.cluster.busy:
            self.tend()
            self.show()
            time.sleep(0.02)

    def show(self) -> None:
        """Show where we are."""
        self._progress(self, "")

    # -- afterwards

    def played(self) -> Played:
        """Return what the verdict asks for."""
        return Played(
            cell=self.cell,
            seed=self.seed,
            ledger=self.ledger,
            faults=self.faults,
            troubles=self.troubles,
            gave_up=self.gave_up,
            load_s=self.load_s,
            rows_of=partial(silence.rows_of, self),
        )

    def close(self) -> None:
        """End everything, whatever happened. May be called twice."""
        for fleet in self.fleets:
            signal_all([process.pid for process in fleet.processes()], signal.SIGCONT)
            fleet.kill()
        for producer in self.producers:
            producer.kill()
            producer.wait()
        if self.crowd is not None:
            self.crowd.close()
        for lines in self.lines.values():
            for line in lines:
                line.close()
        self.lines.clear()
        self.cluster.close()


def _is_ready(fleet: Fleet) -> bool:
    return fleet.ready() >= WORKERS


def _opened(port: int) -> Line:
    return Line(f"host=127.0.0.1 port={port}").open()
