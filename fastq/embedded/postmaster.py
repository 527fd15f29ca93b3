"""The postgres process, as a child of the keeper: start, notice its death, start again, stop."""

from __future__ import annotations

import signal
import subprocess
import time

from fastq.embedded import settings
from fastq.embedded.cluster import Cluster, clear, environment
from fastq.embedded.log import note
from fastq.embedded.paths import Paths
from fastq.embedded.process import die_with_parent
from fastq.errors import EmbeddedError

QUICK_DEATH_S = 5.0
MAX_QUICK_DEATHS = 3
STOP_FAST_S = 60.0
STOP_AT_ONCE_S = 10.0
STDERR = 2


def deaths_after(deaths: int, *, lived_s: float) -> int:
    """Return the new count of quick deaths in a row: a server that lived a while has earned a clean slate."""
    return deaths + 1 if lived_s < QUICK_DEATH_S else 1


class Postmaster:
    """One server, restarted when it dies under us."""

    def __init__(self, cluster: Cluster, paths: Paths) -> None:
        self._cluster = cluster
        self._paths = paths
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._deaths = 0

    def start(self) -> None:
        """Start the server; it is not ready yet."""
        command = [str(self._cluster.binaries.directory / "postgres"), "-D", str(self._cluster.data)]
        self._started_at = time.monotonic()
        try:
            self._child = subprocess.Popen(
                command + settings.command_line(self._paths),
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # our stdout is the pipe to the starter, which must see its end
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - the keeper has no threads
                **self._cluster.identity.popen,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"cannot run {command[0]} as user {self._cluster.identity.name}: {error}") from error

    def restart_if_dead(self) -> None:
        """Reap a dead server and start it again (it recovers from its WAL); raise after too many deaths."""
        if self._child is None or self._child.poll() is None:
            return
        self._deaths = deaths_after(self._deaths, lived_s=time.monotonic() - self._started_at)
        note(f"PostgreSQL ended with status {self._child.returncode}, quick deaths in a row: {self._deaths}")
        if self._deaths >= MAX_QUICK_DEATHS:
            self._child = None
            raise EmbeddedError(f"PostgreSQL does not stay up: {self._deaths} quick deaths in a row")
        # Its backends notice that it is gone and leave; until then a new one finds the shared memory in use.
        time.sleep(0.2 * self._deaths)
        clear(self._cluster.data, self._paths)
        self.start()

    def stop(self) -> None:
        """Stop the server: fast (disconnecting clients), at once if that hangs. Idempotent."""
        if self._child is None:
            return
        for number, patience_s in (
            (signal.SIGINT, STOP_FAST_S),
            (signal.SIGQUIT, STOP_AT_ONCE_S),
            (signal.SIGKILL, None),
        ):
            self._child.send_signal(number)
            try:
                self._child.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                note(f"PostgreSQL did not heed signal {number}")
        self._child = None
