"""`fastq worker` as the first process of a container: PID 1 of a namespace of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import contained
import pytest
from children import search_path
from fleet import HERE, PATIENCE_S, until
from probe import Db, wait_told

pytestmark = pytest.mark.process

UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork", "--mount-proc"]


def _can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_namespaces = pytest.mark.skipif(not _can_unshare(), reason="PID namespaces need unshare and the right to use it")


class Container:
    """A `fastq worker` that is PID 1; `inside` is what the host calls it."""

    def __init__(self, dsn: str, log: Path) -> None:
        command = [*UNSHARE, "--kill-child", sys.executable, "-m", "fastq", "worker", "contained:app", "-p", "1"]
        env = {**os.environ, "FASTQ_DSN": dsn, "PYTHONPATH": search_path(HERE)}
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, env=env, cwd=HERE, stdout=file, stderr=file, process_group=0)

    @property
    def inside(self) -> int:
        """The one child of unshare."""
        pid = self.process.pid
        return int(until("the first process", Path(f"/proc/{pid}/task/{pid}/children").read_text).split()[0])


@pytest.fixture
def container(dsn: str, db: Db, tmp_path: Path) -> Iterator[Container]:
    """Give a container that works on the test's database."""
    made = Container(dsn, tmp_path / "log")
    yield made
    if made.process.poll() is None:
        made.process.kill()  # and with it all that is inside
        made.process.wait()


@needs_namespaces
def test_pid_1_reaps_orphans_and_drains_on_term(container: Container, db: Db) -> None:
    """The supervisor is PID 1, buries what handlers leave behind, and ends with 0 when it is told to stop."""
    with contained.app as app:
        app.enqueue_many_sync([contained.look_around.job(), contained.leave_an_orphan.job()])
    assert wait_told(db, "parent") == ["1"]
    assert wait_told(db, "orphan") == ["reaped"]
    os.kill(container.inside, signal.SIGTERM)
    assert container.process.wait(PATIENCE_S) == 0, container.log.read_text()
    assert "draining" in container.log.read_text()
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)
