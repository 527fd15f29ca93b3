"""What can go wrong. Each fault is a function of the stage; what it touched is written down for the verdict."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from line import Conversation, Line

from chaos.fleet import Fleet, owners_of, signal_all

if TYPE_CHECKING:
    from chaos.stage import Stage


THAW_S = 0.05
RENEWED = 0.7
"""So much of a lease is left at least, at any time, while its steward renews it five times per lease."""

GIVEN_UP_S = 45.0
"""Until then every client has noticed that nobody answers, and has come back."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault, from monotonic time `began` to `ended`, when what it broke was whole again.

    `repeats` says that a job it touched may run again: of the processes `pids`, of all that a `fleet` ever had, or all
    jobs if it touched `everyone`.
    `lingers_s` is how much longer: a lease ran out while its worker could not know, so that it goes on claiming and
    starting jobs which others have, or will have, too. A process that was stopped knows when it goes on, but for what
    was on its way into a thread.
    `bites_after_s` is how long a lease holds that nobody can renew: before, nobody else has the jobs.
    `newest_lease` is that of the last claim before a crash of the database; 0: nobody could be asked.
    """

    name: str
    began: float
    ended: float = math.inf
    pids: frozenset[int] = frozenset()
    fleet: Fleet | None = None
    everyone: bool = False
    repeats: bool = False
    lingers_s: float = 0.0
    bites_after_s: float = 0.0
    newest_lease: int = 0
    detail: str = ""

    @property
    def bites(self) -> float:
        """From when on it can make jobs run again."""
        return self.began + self.bites_after_s

    def touches(self, pid: int) -> bool:
        """Tell whether it was felt by a process in particular."""
        return pid in self.pids or (self.fleet is not None and pid in self.fleet.known)

    def __str__(self) -> str:
        return f"{self.name} {self.detail} from {self.began:.3f} to {self.ended:.3f}"


@contextmanager
def happening(stage: Stage, name: str, **facts: Any) -> Iterator[Fault]:
    """Write down a fault that lasts as long as the block."""
    fault = begin(stage, name, **facts)
    yield fault
    fault.ended = time.monotonic()


def begin(stage: Stage, name: str, **facts: Any) -> Fault:
    """Write down a fault that ends later."""
    stage.take_stock()
    fault = Fault(name=name, began=time.monotonic(), **facts)
    stage.faults.append(fault)
    return fault


def _lingers_s(stage: Stage) -> float:
    """Return how long after a lease ran out its jobs are given back, and its worker knows."""
    return stage.cell.lease_s / 4 + 2.0


# -- the database


def _restart(stage: Stage, how: signal.Signals, name: str, *, repeats: bool) -> None:
    if stage.cluster.busy:
        return
    with happening(stage, name, everyone=True, repeats=repeats, newest_lease=stage.newest_lease()):
        stage.cluster.primary.stop(how)
        stage.cluster.primary.start()


def postgres_fast(stage: Stage, rng: random.Random) -> None:
    """Restart the server as an administrator does: every connection ends, nothing that was committed is lost."""
    _restart(stage, signal.SIGINT, "postgres fast", repeats=False)


def postgres_immediate(stage: Stage, rng: random.Random) -> None:
    """Restart it the hard way: it recovers from its WAL, and commits that nobody waited for are lost."""
    _restart(stage, signal.SIGQUIT, "postgres immediate", repeats=True)


def postgres_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 all of the server, or one backend, upon which the server restarts itself."""
    server = stage.cluster.primary
    if stage.cluster.busy:
        return
    newest = stage.newest_lease()
    if rng.random() < 0.6:
        with happening(stage, "postgres kill -9", everyone=True, repeats=True, newest_lease=newest):
            server.kill()
            server.start()
        return
    with happening(stage, "backend kill -9", everyone=True, repeats=True, newest_lease=newest):
        with server.connect() as conn:
            rows = conn.execute("select pid from pg_stat_activity where application_name like 'fastq%'").fetchall()
        signal_all([rng.choice(rows)[0]] if rows else [], signal.SIGKILL)
        time.sleep(0.1)  # for the postmaster to notice; if it has not, the next look finds the server up, as it is
        server.wait_restarted()


def backend_terminate(stage: Stage, rng: random.Random) -> None:
    """End some connections of fastq's from the server's side."""
    count = rng.randint(1, 6)
    with happening(stage, "backend terminate", everyone=True, detail=f"{count}"), stage.admin() as conn:
        conn.execute(
            "select pg_terminate_backend(pid) from (select pid from pg_stat_activity"
            " where application_name like 'fastq%%' order by random() limit %s) as victims",
            [count],
        )


def connections(stage: Stage, rng: random.Random) -> None:
    """Take all connections that the server has, and end fastq's, so that nobody can come back for a while."""
    until, taken = time.monotonic() + rng.uniform(0.8, 2.0), list[psycopg.Connection[Any]]()
    dsn = stage.cluster.primary.dsn("chaos")
    with happening(stage, "connection limit", everyone=True) as fault, stage.admin() as conn:
        while time.monotonic() < until:
            with suppress(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(dsn, application_name="chaos hog"))
            conn.execute(
                "select pg_terminate_backend(pid) from (select pid from pg_stat_activity"
                " where application_name like 'fastq%' order by random() limit 8) as victims"
            )
        for hog in taken:
            hog.close()
        fault.detail = f"{len(taken)} taken"


def failover(stage: Stage, rng: random.Random) -> None:
    """Kill the primary, promote its standby, and let the old primary follow as a new standby."""
    if stage.cluster.busy:
        return
    with happening(stage, "failover", everyone=True, repeats=True, newest_lease=stage.newest_lease()):
        stage.cluster.fail_over()
    stage.cluster.rejoin()


def deaf_for_good(stage: Stage, rng: random.Random) -> None:
    """Let connections fall silent until everybody has left; it is up to the client to give them up."""
    who = rng.choice(sorted(stage.lines))
    silent = [(line, line.deafen(_a_share(rng, rng.choice((0.2, 0.5, 1.0))))) for line in stage.lines[who]]
    fault = begin(stage, "deaf for good", repeats=True)
    fault.detail = f"{_cut_off(stage, fault, who, silent)} connections of {who}"
    fault.ended = fault.began + GIVEN_UP_S
    for line, some in silent:
        stage.at_last.append(partial(line.cut, some))


def deaf(stage: Stage, rng: random.Random) -> None:
    """Let connections of one fleet, or of the producers, fall silent, then go on, or break."""
    who = rng.choice(sorted(stage.lines))
    share, heals = rng.choice((0.2, 0.5, 1.0)), rng.random() < 0.5
    lasts_s = rng.uniform(0.5, 2.0) * stage.cell.lease_s
    silent = [(line, line.deafen(_a_share(rng, share))) for line in stage.lines[who]]
    fault = begin(stage, "deaf", repeats=True, lingers_s=_lingers_s(stage))
    count = _cut_off(stage, fault, who, silent)
    fault.detail = f"{count} connections of {who}, {'heal' if heals else 'break'} after {lasts_s:.1f} s"

    def end() -> None:
        for line, talking in silent:
            (line.hear if heals else line.cut)(talking)
        fault.ended = time.monotonic()

    stage.later(lasts_s, end)


def _a_share(rng: random.Random, share: float) -> Callable[[list[Conversation]], list[Conversation]]:
    """Choose about a `share` of the conversations, at least one if there are any."""
    return lambda talking: rng.sample(talking, max(1, round(len(talking) * share))) if talking else []


def _cut_off(stage: Stage, fault: Fault, who: str, silent: list[tuple[Line, list[Conversation]]]) -> int:
    """Write down whom silence touches: the workers at these connections, or the fleet of a steward that is at one."""
    fleet = stage.seats.get(who)
    ports = {conversation.port for _, some in silent for conversation in some}
    if fleet is not None:
        owners = owners_of(ports, [process.pid for process in fleet.processes()])
        fault.pids = frozenset(owners)
        if not owners <= set(fleet.workers()):
            fault.fleet = fleet
    return len(ports)


# -- processes


def worker_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 one worker."""
    pid = stage.a_fleet().a_worker(rng)
    if pid is not None:
        with happening(stage, "worker kill -9", pids=frozenset({pid}), repeats=True, detail=str(pid)):
            signal_all([pid], signal.SIGKILL)


def worker_kills(stage: Stage, rng: random.Random) -> None:
    """Kill -9 one worker after the other."""
    victims: set[int] = set()
    with happening(stage, "repeated kills", repeats=True) as fault:
        for _ in range(rng.randint(4, 8)):
            pid = stage.a_fleet().a_worker(rng)
            if pid is not None:
                victims.add(pid)
                fault.pids = frozenset(victims)
                signal_all([pid], signal.SIGKILL)
            time.sleep(rng.uniform(0.05, 0.25))
        fault.detail = f"{len(victims)} workers"


def steward_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 one steward. Nothing may run twice for it."""
    stewards = stage.a_fleet().named("fastq steward")
    with happening(stage, "steward kill -9", detail=str(stewards)):
        signal_all(stewards, signal.SIGKILL)


def supervisor_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 one supervisor: its children drain by themselves. Another one is started, as systemd would."""
    fleet = stage.a_fleet()
    with happening(stage, "supervisor kill -9", detail=fleet.name):
        _fell(stage, fleet, [fleet.pid])


def host_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 a supervisor and all of its children at once, as when a host dies."""
    fleet = stage.a_fleet()
    pids = fleet.everybody()
    with happening(stage, "host kill -9", pids=pids, repeats=True, detail=fleet.name):
        _fell(stage, fleet, [process.pid for process in fleet.processes()])


def _fell(stage: Stage, fleet: Fleet, pids: list[int]) -> None:
    fleet.leaving = True
    signal_all(pids, signal.SIGKILL)
    fleet.process.wait()
    stage.later(0.5, lambda: stage.replace(fleet))


def freeze(stage: Stage, rng: random.Random) -> None:
    """Stop a worker, a steward or a whole fleet for longer than the lease, then let it go on."""
    fleet, dice = stage.a_fleet(), rng.random()
    if dice < 0.6:
        pid = fleet.a_worker(rng)
        what, stopped = "worker", [pid] if pid else []
    elif dice < 0.8:
        what, stopped = "steward", fleet.named("fastq steward")
    else:
        what, stopped = "fleet", [process.pid for process in fleet.processes()]
    lasts_s = stage.cell.lease_s * rng.uniform(1.3, 1.8)
    detail = f"{what} of {fleet.name} for {lasts_s:.1f} s"
    lingers_s = _lingers_s(stage) if what == "steward" else THAW_S
    fault = begin(stage, "freeze", repeats=True, lingers_s=lingers_s, detail=detail)
    fault.pids, fault.fleet = frozenset(stopped), None if what == "worker" else fleet
    fault.bites_after_s = RENEWED * stage.cell.lease_s if what == "steward" else 0.0
    signal_all(stopped, signal.SIGSTOP)

    def thaw() -> None:
        signal_all(stopped, signal.SIGCONT)
        fault.ended = time.monotonic()

    stage.later(lasts_s, thaw)


def deploy(stage: Stage, rng: random.Random) -> None:
    """Replace one supervisor by the next, under load. Nothing may be lost, and nothing may run twice."""
    old = stage.a_fleet()
    if old.ready() < 1 or any(fault.name == "deploy" and fault.ended == math.inf for fault in stage.faults):
        return  # one at a time, and none that has only just started
    fault = begin(stage, "deploy", detail=old.name)
    old.term()
    new = stage.replace(old)

    def end() -> None:
        fault.ended = time.monotonic()
        if old.process.returncode:
            stage.troubles.append(f"{old.name} left with exit code {old.process.returncode} when it was told to drain")

    stage.when(
        f"{new.name} to be ready and {old.name} to leave", lambda: (new.ready() or not new.alive) and not old.alive, end
    )


def producer_kill(stage: Stage, rng: random.Random) -> None:
    """Kill -9 a producer. What it was not told may or may not be there."""
    with happening(stage, "producer kill -9"):
        stage.kill_producer(rng)


FaultFunction = Callable[["Stage", random.Random], None]
