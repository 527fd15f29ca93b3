"""A real `fastq worker` for tests: started as a user starts it, observed through its log and the database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from children import search_path

HERE = Path(__file__).parent
PATIENCE_S = 30.0


def until(what: str, check: Any) -> Any:
    """Return the first truthy value of `check()`; fail after PATIENCE_S with `what` was waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := check()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
    return value


class Fleet:
    """One supervisor with its children. Use as a context manager: what is left is killed at the end."""

    def __init__(
        self, dsn: str, *options: str, target: str = "handlers:app", processes: int = 1, cwd: Path = HERE
    ) -> None:
        env = {**os.environ, "FASTQ_DSN": dsn, "PYTHONPATH": search_path(HERE)}
        command = [sys.executable, "-m", "fastq", "worker", target, "-p", str(processes), *options]
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE_S)  # the pipe ends with the last process that can write to it
        left = "".join(_processes_of(self.process.pid)) if self._reader.is_alive() else ""
        if left:
            os.killpg(self.process.pid, signal.SIGKILL)
            self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        if exc[0] is not None or left:
            print("\n".join(self.lines))
        assert not left, f"these outlived their supervisor:\n{left}"

    def wait_line(self, pattern: str, *, count: int = 1) -> str:
        """Return the `count`-th log line that matches."""

        def found() -> str | None:
            hits = [line for line in list(self.lines) if re.search(pattern, line)]
            ended = self.process.poll() is not None and not self._reader.is_alive()
            assert len(hits) >= count or not ended, "\n".join(self.lines)
            return hits[count - 1] if len(hits) >= count else None

        return str(until(f"a log line {pattern!r}", found))

    def ready(self, processes: int = 1) -> Fleet:
        """Wait until so many workers are ready."""
        self.wait_line("is ready", count=processes)
        return self

    def workers(self, db: psycopg.Connection[Any]) -> list[int]:
        """Return the pids of the registered workers."""
        return [row[0] for row in db.execute("select pid from fastq.worker where shard = 0 order by id").fetchall()]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)


def _processes_of(group: int) -> Iterator[str]:
    """Yield a line for each process of a process group."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            if int(rest[2]) == group:
                where = (stat.parent / "wchan").read_text()
                yield f"{pid} {rest[0]} in {where}: {(stat.parent / 'comm').read_text()}"


def gone(pid: int) -> bool:
    """Tell whether a process no longer runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
