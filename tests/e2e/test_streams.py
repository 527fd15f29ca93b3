"""Standard streams that are closed, full, or read by nobody: what is lost is what was said, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

pytestmark = pytest.mark.e2e

JOBS = """
import os
import fastq

app = fastq.App()


@app.task(keep=3600)
def where() -> list[str]:
    os.system("exit 0")  # children have them too
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]


@app.task(retries=0)
async def fails() -> None:
    raise ValueError("no")
"""

Db = psycopg.Connection[object]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a directory with an app, in the environment of an ordinary user."""
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # an unbuffered stream has nothing to flush at the end


def burst(redirections: str) -> int:
    """Run two jobs to their end by a shell, so that its redirections count; return the exit code."""
    python = f"{sys.executable} -m fastq"
    for task in ("where", "fails"):
        subprocess.run(f"{python} enqueue jobs:app {task}", shell=True, check=True, stdout=subprocess.DEVNULL)
    return subprocess.run(
        f"exec {python} worker jobs:app -p 1 --burst {redirections}", shell=True, timeout=60
    ).returncode


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
@pytest.mark.parametrize("redirections", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(db: Db, redirections: str) -> None:
    """A worker that was started with closed streams runs, and no connection gets a number that stderr should have."""
    assert burst(f"</dev/null >/dev/null 2>/dev/null {redirections}") == 0
    (row,) = db.execute(
        "select result::json->>2, result::json->>1, result::json->>0 from fastq.finished where task = 'jobs.where'"
    )
    assert row == ("/dev/null", "/dev/null", "/dev/null")
    assert db.execute("select count(*) from fastq.finished where state = 'failed'").fetchone() == (1,)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stderr_stops_nothing(db: Db) -> None:
    """Log lines are lost, jobs are not; the exit code is of the drain, not of the last flush."""
    assert burst("2>/dev/full") == 0
    assert db.execute("select count(*) from fastq.finished").fetchone() == (2,)


def test_a_reader_that_is_gone_stops_nothing(db: Db) -> None:
    """As behind `2>&1 | head`."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    os.set_inheritable(write_fd, True)
    try:
        python = [sys.executable, "-m", "fastq"]
        subprocess.run([*python, "enqueue", "jobs:app", "fails"], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([*python, "worker", "jobs:app", "-p", "1", "--burst"], stderr=write_fd, timeout=60)
    finally:
        os.close(write_fd)
    assert done.returncode == 0
    assert db.execute("select count(*) from fastq.finished").fetchone() == (1,)
