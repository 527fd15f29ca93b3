"""A real supervisor with tiny workers and a tiny steward, without a database, for test_supervisor*.py.

Run as a script with its options as JSON. Everything that happens is one JSON line on stdout, written by whichever
process it happens in; so the end of stdout means that no process is left.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import logging
import os
import select
import signal
import sys
from types import SimpleNamespace

from fastq.config import SupervisorConfig
from fastq.host.board import Board, Word
from fastq.states import CellState
from fastq.supervisor import Child, ChildEntry, Limits, RestartPolicy, Supervisor, cells_for


def say(event: str, **facts: object) -> None:
    """Write one event; one write is atomic, so that processes do not mix their lines."""
    os.write(1, (json.dumps({"event": event, "from": os.getpid(), **facts}) + "\n").encode())


class Inbox:
    """Signals and descriptors of a fake, as data."""

    def __init__(self, *fds: int) -> None:
        read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd)
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(signum, lambda *_: None)
        self.fd = read_fd
        self.poll = select.poll()
        for fd in (read_fd, *fds):
            self.poll.register(fd, select.POLLIN)

    def next(self) -> str | int:
        """Wait; return the name of a signal, or the descriptor that is ready."""
        ready = [fd for fd, _ in self.poll.poll()]
        if self.fd in ready:
            return signal.Signals(os.read(self.fd, 1)[0]).name
        return ready[0]


def worker(child: Child[dict]) -> int:
    """Get ready and wait for orders, or misbehave as the options say."""
    does = SimpleNamespace(**{"crash_on_cpu": None, "first": None, "on_term": "drain", **child.config})
    cell = child.cell
    version = importlib.import_module(does.app).VERSION if hasattr(does, "app") else None
    for name in getattr(does, "imports", ()):
        importlib.import_module(name)
    say("started", pid=cell[Word.PID], cell=cell.index, cpu=cell[Word.CPU])
    while does.first == "wait":
        signal.pause()
    if does.first is not None or (does.crash_on_cpu == cell[Word.CPU]):
        return misbehave(does.first or "crash", child)
    if getattr(does, "no_pdeathsig", False):
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    atexit.register(say, "child exit handler")
    inbox = Inbox(child.lifeline_fd)
    cell.state = CellState.RUNNING
    affinity = sorted(os.sched_getaffinity(0))
    say("ready", cell=cell.index, cpu=cell[Word.CPU], version=version, affinity=affinity)
    return serve(does, child, inbox)


def serve(does: SimpleNamespace, child: Child[dict], inbox: Inbox) -> int:
    """Obey signals until it is time to go."""
    while True:
        news = inbox.next()
        if news == "SIGUSR1":
            say("stacks")
        elif news == "SIGQUIT":
            say("quit")
            return 1
        elif news == "SIGTERM" and does.on_term == "ignore":
            say("ignored")
        else:
            why = "lifeline" if news == child.lifeline_fd else "term"
            child.cell.state = CellState.DRAINING
            say("draining", why=why, cell=child.cell_index)
            return leave(child) if does.on_term == "drain" else int(does.on_term)


def misbehave(how: str, child: Child[dict]) -> int:
    """Die, or leave, without ever having served."""
    if how == "done":
        return leave(child)
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise RuntimeError("the fake raises")
    return int(how)


def leave(child: Child[dict]) -> int:
    """Leave cleanly."""
    say("left", cell=child.cell_index)
    child.cell.state = CellState.FREE
    return 0


def steward(child: Child[dict]) -> int:
    """Free dead cells when rung; show the board on USR1."""
    bell = child.board.steward_doorbell
    inbox = Inbox(child.lifeline_fd, bell.fd)
    say("steward ready")
    while True:
        clean(child.board)
        news = inbox.next()
        if news == bell.fd:
            bell.hush()
        elif news == "SIGUSR1":
            show(child.board)
        elif not (news == "SIGTERM" and child.config.get("on_term") == "ignore"):
            clean(child.board)
            say("steward left", why=str(news))
            return 0


def clean(board: Board) -> None:
    """Give back what the dead had."""
    for cell in board.cells:
        if cell.state is CellState.DEAD:
            say("dead", pid=cell[Word.PID], cell=cell.index, status=cell[Word.EXIT_STATUS])
            cell.state = CellState.FREE


def show(board: Board) -> None:
    """Say what stands on the board."""
    cells = [(c.state.name, c[Word.STOPPED], c[Word.PID]) for c in board.cells]
    say("board", cells=[c for c in cells if c[0] != "FREE"])


class Exploding(Supervisor):
    """A supervisor with a bug."""

    def step(self) -> None:
        """Work until every worker is ready, then fail."""
        super().step()
        if all(worker.ready_at for worker in self.fleet.table.workers.values()):
            raise RuntimeError("a bug")


class Lines(logging.Handler):
    """Log records as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say("log", text=record.getMessage())


def main() -> None:
    """Supervise as the options say."""
    options = json.loads(sys.argv[1])
    logging.getLogger("fastq.supervisor").addHandler(Lines())
    logging.getLogger("fastq.supervisor").setLevel(logging.INFO)
    atexit.register(say, "parent exit handler")
    config = SupervisorConfig(processes=options["processes"], cpus=tuple(options["cpus"]), burst=options["burst"])
    supervisor = (Exploding if options["explode"] else Supervisor)(
        config,
        Board(cells=cells_for(config.processes), running=4),
        ChildEntry(path=options["worker_path"], config=options["worker"]),
        ChildEntry(path="supervisor_fakes:steward", config=options["steward"]),
        policy=RestartPolicy(**options["policy"]),
        limits=Limits(**options["limits"]),
    )
    code = supervisor.run()
    loaded = [name for name in ("psycopg", "uvloop", "asyncio") if name in sys.modules]
    say("over", modules=loaded, threads=len(os.listdir("/proc/self/task")))  # noqa: PTH208
    sys.exit(code)


if __name__ == "__main__":
    main()
