"""The workers under test, started as a user starts them: `fastq worker …` in a process of its own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from uuid import uuid4

from psycopg import conninfo

from fastq.bench.ground import Ground
from fastq.bench.jobs import QUEUE
from fastq.bench.plan import BenchError, BenchPlan

_START_S, _WAIT_S, _DRAIN_S, _FORCE_S = 30.0, 5.0, 20.0, 5.0
_LOOK_EVERY_S = 0.02
_PR_SET_PDEATHSIG = 1


class BenchFleet:
    """One `fastq worker` command with its processes. `workers` maps worker ids to process ids once it is ready."""

    def __init__(self, ground: Ground, plan: BenchPlan, dsn: str, environ: Mapping[str, str] | None = None) -> None:
        self.name = f"fastq-bench-{uuid4().hex[:8]}"
        self.workers: dict[int, int] = {}
        self._ground = ground
        self._processes = plan.processes
        self._since = ground.now()
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in close
        self._command = subprocess.Popen(
            _command(self.name, plan),
            env=_environment(dsn, environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            process_group=0,  # Ctrl-C is for the bench; it drains the workers itself
            preexec_fn=_end_with_parent() if sys.platform == "linux" else None,  # noqa: PLW1509 - only a prctl
        )

    def wait_until_ready(self) -> None:
        """Wait until all workers are registered, have looked for jobs once, and their steward listens."""
        deadline = time.monotonic() + _START_S
        while len(self.workers) < self._processes:
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"{self._processes} workers did not start within {_START_S:.0f} s{self._words()}")
            time.sleep(_LOOK_EVERY_S)
            self.workers = dict(self._ground.workers(self.name))
        deadline = time.monotonic() + _WAIT_S  # only seen with the rights of the same role: then go on without
        while time.monotonic() < deadline:
            workers, listeners = self._ground.waiting(f"fastq worker {self.name}", self._since)
            if workers >= self._processes and listeners:
                return
            self.check()
            time.sleep(_LOOK_EVERY_S)

    def check(self) -> None:
        """Raise BenchError if the fleet has ended."""
        if (code := self._command.poll()) is not None:
            raise BenchError(f"`fastq worker` ended with exit code {code} in the middle of the bench{self._words()}")

    def close(self) -> None:
        """Drain the workers; force those that do not. May be called twice."""
        for signum, patience_s in ((signal.SIGTERM, _DRAIN_S), (signal.SIGQUIT, _FORCE_S), (signal.SIGKILL, _FORCE_S)):
            if self._command.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._command.pid, signum) if signum is signal.SIGKILL else self._command.send_signal(signum)
            with suppress(subprocess.TimeoutExpired):
                self._command.wait(patience_s)
        self._log.close()

    def _words(self) -> str:
        """Return the last thing the workers said, for an error's message."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""


def _end_with_parent() -> Callable[[], None]:
    """Return what makes a child get TERM when the bench is killed -9: nobody else would ever end these workers."""
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) and None


def _command(name: str, plan: BenchPlan) -> list[str]:
    return [
        *(sys.executable, "-m", "fastq", "worker", "fastq.bench.jobs:app"),
        *("--queues", QUEUE, "--name", name, "--log-level", "warning"),
        *("--processes", str(plan.processes), "--concurrency", str(plan.concurrency)),
        *("--batch-size", str(plan.batch_size)),
    ]


def _environment(dsn: str, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the workers: the DSN there and not in the arguments, where everybody could read it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FASTQ_WORKER_")}
    if dsn:
        parts = conninfo.conninfo_to_dict(dsn)
        parts.pop("application_name", None)  # by theirs the workers are told apart
        ours["FASTQ_DSN"] = conninfo.make_conninfo("", **parts)
    return {**ours, **more}


@contextmanager
def running(
    ground: Ground, plan: BenchPlan, dsn: str, environ: Mapping[str, str] | None = None
) -> Iterator[BenchFleet]:
    """Give a fleet that is ready, and drain it at the end."""
    fleet = BenchFleet(ground, plan, dsn, environ)
    try:
        fleet.wait_until_ready()
        yield fleet
    finally:
        fleet.close()
