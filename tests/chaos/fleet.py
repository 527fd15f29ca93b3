"""One `fastq worker` with all its children, started as a user starts it. Its session is how its processes are found."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from children import search_path

from chaos.jobs import RUNS

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A living process, as /proc shows it."""

    pid: int
    name: str
    state: str


def processes_of(session: int) -> list[Process]:
    """Return the living processes of a session; zombies do not live."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            head, _, tail = (folder / "stat").read_text(errors="replace").rpartition(")")
            fields = tail.split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(Process(pid=int(folder.name), name=head.partition("(")[2], state=fields[0]))
    return sorted(found, key=lambda process: process.pid)


def owners_of(ports: set[int], pids: Iterable[int]) -> set[int]:
    """Return which of the processes hold a connection from one of these local ports."""
    sockets = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) in ports:
            sockets.add(f"socket:[{words[9]}]")
    owners = set()
    for pid in pids:
        with suppress(OSError):
            if any(_leads_to(link) in sockets for link in Path(f"/proc/{pid}/fd").iterdir()):
                owners.add(pid)
    return owners


def _leads_to(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def environment_for(dsn: str, folder: Path) -> dict[str, str]:
    """Return the environment of everything that the harness starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "FASTQ_"))}
    return {**kept, "FASTQ_DSN": dsn, "PYTHONPATH": search_path(TESTS), RUNS: str(folder)}


def signal_all(pids: Iterable[int], signum: signal.Signals) -> None:
    """Signal processes of ours that may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


class Fleet:
    """A supervisor, its steward and its workers."""

    def __init__(self, name: str, dsn: str, folder: Path, options: list[str]) -> None:
        self.name = name
        self.leaving = False
        self.known: set[int] = set()
        self.log = folder / f"fleet-{name}.log"
        command = [sys.executable, "-m", "fastq", "worker", "chaos.jobs:app", "--name", name, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=environment_for(dsn, folder),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The supervisor's, which is also the session's."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the supervisor lives."""
        return self.process.poll() is None

    def processes(self) -> list[Process]:
        """Return everything that lives of this fleet; what was seen once is remembered in `known`."""
        living = processes_of(self.pid)
        self.known.update(process.pid for process in living)
        return living

    def named(self, prefix: str) -> list[int]:
        """Return the pids of the processes whose name begins so: "fastq worker", "fastq steward"."""
        return [p.pid for p in self.processes() if p.name.startswith(prefix) and p.pid != self.pid]

    def workers(self) -> list[int]:
        """Return the pids of the living workers."""
        return self.named("fastq worker")

    def a_worker(self, rng: random.Random) -> int | None:
        """Return one of them."""
        workers = self.workers()
        return rng.choice(workers) if workers else None

    def everybody(self) -> frozenset[int]:
        """Return all pids that live, or were seen living."""
        self.processes()
        return frozenset(self.known)

    def ready(self) -> int:
        """Return how many workers the supervisor has seen getting ready."""
        return self.log.read_bytes().count(b" is ready after ")

    def term(self) -> None:
        """Ask it to drain."""
        self.leaving = True
        signal_all([self.pid], signal.SIGTERM)

    def reap_orphans(self) -> None:
        """Be the init of what the supervisor left behind: the harness is a subreaper."""
        for pid in self.known - {self.pid}:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def kill(self) -> None:
        """End everything of it at once."""
        signal_all([process.pid for process in self.processes()], signal.SIGKILL)
        self.process.wait()
        self.reap_orphans()
