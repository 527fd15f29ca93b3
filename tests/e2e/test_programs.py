"""A program that is also the module of its tasks: what it enqueues, the workers find. Real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.e2e

PROGRAM = """
import multiprocessing
import fastq

app = fastq.App()

@app.task
def hi(name: str) -> None:
    with open("said", "a") as file:
        file.write(f"hi {name}\\n")

def enqueue(name):
    with app:
        hi.enqueue_sync(name=name)

if __name__ == "__main__":
    enqueue("started")
    spawned = multiprocessing.get_context("spawn").Process(target=enqueue, args=["spawned"])
    spawned.start()
    spawned.join()
"""
Db = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    for path in (tmp_path / "jobs.py", package / "jobs.py", package / "__main__.py", tmp_path / "my-jobs.py"):
        path.write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)


def python(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    return subprocess.run([sys.executable, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("program", "target", "said"),
    [
        (["jobs.py"], "jobs:app", ["spawned", "started"]),
        (["-m", "jobs"], "jobs:app", ["spawned", "started"]),
        (["-m", "shop.jobs"], "shop.jobs:app", ["spawned", "started"]),
        (["-m", "shop"], "shop.__main__:app", ["started"]),  # multiprocessing does not import that again
    ],
)
def test_what_a_program_enqueues_of_its_own_tasks_is_run(
    dsn: str, db: Db, program: list[str], target: str, said: list[str]
) -> None:
    """Its module is called __main__ while it runs, and by its name in the workers: the jobs have that."""
    done = python(*program)
    assert done.returncode == 0, done.stderr
    assert db.execute("select distinct task from fastq.job").fetchall() == [(target.replace(":app", ".hi"),)]
    worked = python("-m", "fastq", "worker", target, "-p", "1", "--burst")
    assert worked.returncode == 0, worked.stderr
    assert sorted(Path("said").read_text().splitlines()) == [f"hi {name}" for name in said]


@pytest.mark.parametrize(
    ("args", "stdin"), [(["-c", PROGRAM], ""), (["-"], PROGRAM), (["my-jobs.py"], ""), (["shop"], "")]
)
def test_a_task_that_no_worker_could_import_is_refused(dsn: str, db: Db, args: list[str], stdin: str) -> None:
    """Typed in, or in a file that cannot be imported: the sentence says what to do, and nothing is enqueued."""
    done = python(*args, stdin=stdin)
    assert done.returncode == 1
    assert "fastq.errors.UsageError: workers cannot import 'hi'" in done.stderr
    assert "give the task a name=…" in done.stderr
    assert db.execute("select count(*) from fastq.job").fetchone() == (0,)


def test_a_name_makes_up_for_it(dsn: str, db: Db) -> None:
    """With name= a task can be enqueued from anywhere."""
    done = python("-c", PROGRAM.replace("@app.task", "@app.task(name='hi')").partition("    spawned")[0])
    assert done.returncode == 0, done.stderr
    assert db.execute("select task from fastq.job").fetchone() == ("hi",)
