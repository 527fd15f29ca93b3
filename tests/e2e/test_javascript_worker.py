"""A worker in another language, beside a fleet of ours: what docs/protocol.md promises, by the example as it stands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import conninfo

import fastq

EXAMPLE = Path(__file__).parents[2] / "examples" / "javascript_worker" / "worker.mjs"
PATIENCE_S = 60.0
Db = psycopg.Connection[Any]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with the example and the driver that it needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node on this machine")
    made = tmp_path_factory.mktemp("javascript")
    shutil.copy(EXAMPLE, made)
    done = subprocess.run(["npm", "install", "--silent", "pg"], cwd=made, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the driver cannot be had: {done.stderr[-200:]}")
    return made


class Worker:
    """The example at work; what it printed so far."""

    def __init__(self, folder: Path, dsn: str) -> None:
        parts = conninfo.conninfo_to_dict(dsn)
        url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
        self.output = folder / f"output-{time.monotonic_ns()}"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                ["node", "worker.mjs"], cwd=folder, env={**os.environ, "DATABASE_URL": url}, stdout=file, stderr=file
            )

    @property
    def said(self) -> str:
        """Return what it printed."""
        return self.output.read_text()

    def end(self, signum: signal.Signals) -> int:
        """Send a signal and wait for its end."""
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_S)


@contextmanager
def working(folder: Path, dsn: str) -> Iterator[Worker]:
    """Have the example at work; drained in the end, which has to go well."""
    worker = Worker(folder, dsn)
    try:
        until("it to be ready", lambda: "is ready" in worker.said)
        yield worker
        if worker.process.poll() is None:
            assert worker.end(signal.SIGTERM) == 0, worker.said
            assert "drained" in worker.said
    finally:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@contextmanager
def fleet(folder: Path, dsn: str) -> Iterator[None]:
    """Have a fleet of ours at work, whose tasks are others."""
    (folder / "ours.py").write_text(
        "import fastq\napp = fastq.App()\n"
        "@app.task(name='py.greet')\nasync def greet(name: str) -> None: print('hello from python', name)\n"
    )
    command = [sys.executable, "-m", "fastq", "worker", "ours:app", "-p", "1", "--lease", "2", "--dsn", dsn]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def until(what: str, check: Callable[[], Any]) -> None:
    """Wait until a check holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}"
        time.sleep(0.02)


def states(db: Db) -> dict[str, int]:
    """Return how many jobs stand in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


app = fastq.App()


@app.task(name="js.greet")
async def greet(name: str) -> None:
    """Is another's to run."""


@app.task(name="js.nap")
async def nap(name: str, ms: int) -> None:
    """Is another's to run."""


def test_it_runs_retries_and_fails_beside_ours(folder: Path, dsn: str, db: Db) -> None:
    """Single jobs and packets of its tasks, each once; ours are left to ours; what fails is kept with its errors."""
    with app, fleet(folder, dsn), working(folder, dsn) as worker:
        app.enqueue_many_sync(greet.job(name=f"p{n}") for n in range(500))
        for n in range(20):
            db.execute("select fastq.enqueue('js.greet', json_build_object('name', %s::text))", [f"s{n}"])
            db.execute("select fastq.enqueue('py.greet', json_build_object('name', %s::text))", [f"s{n}"])
        db.execute("""select fastq.enqueue('js.fail', '{"name": "luck"}')""")
        until("all to end", lambda: states(db) == {"failed": 1})
        hellos = sorted(line for line in worker.said.splitlines() if line.startswith("hello"))
        assert hellos == sorted([f"hello p{n}" for n in range(500)] + [f"hello s{n}" for n in range(20)])
    asked = "select attempt, meta #>> '{errors,-1,type}', json_array_length(meta -> 'errors') from fastq.finished"
    job = db.execute(asked).fetchone()
    assert job == (3, "TypeError", 3)
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)


def test_what_it_held_when_it_died_runs_again(folder: Path, dsn: str, db: Db) -> None:
    """Our stewards give it back, charged to its worker's death, and another one runs it."""
    with app, fleet(folder, dsn):
        with working(folder, dsn) as dies:
            app.enqueue_many_sync(nap.job(name=f"n{n}", ms=600_000) for n in range(3))
            until("them to run", lambda: dies.said.count("napping") == 3)
            dies.end(signal.SIGKILL)
        db.execute("update fastq.worker set expires_at = now() where name = 'javascript'")
        with working(folder, dsn) as other:
            until("them to run again", lambda: other.said.count("napping") == 3)
            other.end(signal.SIGKILL)


def test_it_gives_back_what_it_has_not_begun(folder: Path, dsn: str, db: Db) -> None:
    """At SIGTERM it ends what runs and leaves; nothing is lost."""
    with app:
        with working(folder, dsn) as worker:
            app.enqueue_many_sync(nap.job(name=f"n{n}", ms=300) for n in range(100))
            until("some to run", lambda: "napping" in worker.said)
            assert worker.end(signal.SIGTERM) == 0, worker.said
            awake = worker.said.count("awake")
            assert awake == worker.said.count("napping")
        assert states(db) == {"ready": 100 - awake}
        assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)
