"""A base directory for an embedded server, and what is done to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from children import search_path

from fastq import embedded
from fastq.embedded import process
from fastq.embedded.paths import Paths

ROOT = os.geteuid() == 0


# A starter says what it did in one line and lives until its stdin is closed.
STARTER = "import sys; from fastq import embedded; print({call}, flush=True); sys.stdin.read()"


def until(condition: Callable[[], object], *, timeout_s: float = 15.0) -> None:
    """Wait for the condition, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come true"
        time.sleep(0.005)


def starter(base: Path, call: str = "embedded.ensure(sys.argv[1])", python: str = sys.executable, **options):
    """Start another process that does `call` and then waits; its first line of output is the result."""
    options["env"] = {**os.environ, "PYTHONPATH": search_path(), **options.pop("env", {})}
    command = [python, "-c", STARTER.format(call=call), str(base)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def finish(child: subprocess.Popen) -> None:
    """Let a starter end, and reap it."""
    with child:
        child.stdin.close()


def execute(dsn: str, *statements: str) -> list[tuple]:
    """Run the statements, each in its own transaction; return the rows of the last."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def is_gone(base: Path) -> bool:
    """Say whether neither keeper nor server runs."""
    look = embedded.status(base)
    return look.keeper_pid is None and not look.running


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A base directory that the server's user can reach (tmp_path is 0700), with nothing left behind it."""
    for name in ("FASTQ_PG_BIN", "FASTQ_HOME", "FASTQ_PG_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FASTQ_PG_GRACE", "0.1")
    parent = Path(tempfile.mkdtemp(prefix="fq-"))
    parent.chmod(0o755)
    chosen = parent / "db"
    yield chosen
    end(chosen)
    shutil.rmtree(parent)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A stopped server's base directory, made once: a copy of it is had in a fraction of initdb's time."""
    parent = Path(tempfile.mkdtemp(prefix="fq-"))
    parent.chmod(0o755)
    made = parent / "db"
    embedded.ensure(made)
    end(made)
    yield made
    shutil.rmtree(parent)


@pytest.fixture
def base(empty: Path, cluster: Path) -> Path:
    """A base directory with a stopped server in it."""
    subprocess.run(["cp", "-a", cluster, empty], check=True)
    (empty / "log").unlink()
    return empty


def end(base: Path) -> None:
    """Stop the server of `base`, check that it is gone, remove a socket directory elsewhere."""
    paths = Paths.of(base)
    data = paths.data()
    embedded.release(base)
    if ROOT and base.exists():  # a test may have made it somebody else's
        os.chown(base, 0, 0)
        base.chmod(0o755)
    embedded.stop(base)
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()] if Path("/proc").exists() else []
    assert not data or not [pid for pid in pids if process.serves(pid, data)]
    if paths.run.parent != paths.base:
        shutil.rmtree(paths.run, ignore_errors=True)
