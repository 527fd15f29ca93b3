"""The demo's workers: the real `fastq worker`, supervisor and all, as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from fastq.embedded.process import die_with_parent
from fastq.errors import FastqError

TARGET = "fastq.demo.jobs:app"
CONCURRENCY = 4
"""Jobs at once per process. Indexing is work for the CPU: more of them would only be timed while they wait."""

_DRAIN_S = 15
_STOP_S = 30.0


class DemoFleet:
    """A `fastq worker` between `open` and `close`."""

    def __init__(self, dsn: str, base: Path, *, processes: int) -> None:
        self._dsn = dsn
        self._base = base
        self._processes = processes
        self._log = base / "worker.log"
        self._child: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start it, in a process group of its own: a Ctrl-C at the terminal is for the demo, which then stops it."""
        command = [sys.executable, "-m", "fastq", "worker", TARGET, "--log-format", "console", "--log-level", "info"]
        command += ["-p", str(self._processes), "-c", str(CONCURRENCY), "--shutdown-timeout", str(_DRAIN_S)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FASTQ_WORKER_")}
        with self._log.open("wb") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment | {"FASTQ_DSN": self._dsn},
                cwd=self._base,
                process_group=0,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - no thread was started yet
            )

    def check(self) -> None:
        """Raise when it has ended, which it should not before `drain`."""
        assert self._child is not None, "check before open"
        if (code := self._child.poll()) is not None:
            raise FastqError(f"the workers ended with exit code {code}: {self._last_words()}")

    def drain(self) -> None:
        """Ask it to end as it should, and see that it did.

        Raises:
            FastqError: it ended with another exit code than 0, or not at all.

        """
        self.check()
        assert self._child is not None, "drain before open"
        self._child.terminate()
        try:
            code = self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise FastqError(f"the workers did not drain within {_STOP_S:.0f} s") from None
        if code:
            raise FastqError(f"the workers drained with exit code {code}: {self._last_words()}")

    def close(self) -> None:
        """Stop what is left of it at once. May be called twice."""
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(signal.SIGQUIT)  # the supervisor stops its children before it ends
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()  # its children notice, and end themselves
            self._child.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
