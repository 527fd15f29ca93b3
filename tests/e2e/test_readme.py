"""README and tutorial are run as they stand, by a new user: in an empty directory, with the commands as typed.

A comment before each fenced block says how:

    file: NAME               the block is this file
    run                      a shell runs it, with no DSN set: the embedded server
    run: own server          … with DATABASE_URL naming a server, of which `postgresql://localhost/shop` is the example
    …, until done TASK       it does not end by itself: Ctrl-C once no job of TASK is left but failed or discarded ones
    run: make                a shell runs it at the top of the checkout
    sql                      the own server runs it
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import conninfo

from fastq import embedded

pytestmark = pytest.mark.e2e

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples"
SHOP = "postgresql://localhost/shop"
LIMIT_S = 60
DJANGO_TASKS = importlib.util.find_spec("django") and importlib.util.find_spec("django.tasks")
"""Whether Django has tasks; before 6.0 a package of its own has them, under the same names."""


class Block(NamedTuple):
    """A fenced block: what its comment says, and its text."""

    how: str
    text: str


def blocks(page: str = "README.md") -> list[Block]:
    """Return a page's blocks in order; each must say how it is run."""
    text = (TOP / page).read_text()
    found = [Block(*m) for m in re.findall(r"^<!-- (.+?) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    assert len(found) == len(re.findall(r"^```\w+$", text, re.MULTILINE)), "a block without a comment is not tested"
    return found


class Reader:
    """Somebody who follows the README in a directory, with a server of their own beside the embedded one."""

    def __init__(self, directory: Path, base: Path, own: str) -> None:
        self.directory = directory
        self.base = base
        self.own = own
        ours = ("FASTQ_", "PG", "DATABASE_URL", "PYTHON", "VIRTUAL_ENV")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"FASTQ_HOME": str(base)}

    def follow(self, block: Block) -> str:
        """Do what a block says; returns what it wrote."""
        if block.how.startswith("file: "):
            file = self.directory / block.how.removeprefix("file: ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                block.text if DJANGO_TASKS else block.text.replace("from django.tasks", "from django_tasks")
            )
            return ""
        if block.how == "sql":
            with psycopg.connect(self.own, autocommit=True) as conn:
                conn.execute(block.text.encode())
            return ""
        environment = self.environment
        if "own server" in block.how:
            environment = environment | {"DATABASE_URL": self.own}
        text = block.text.replace(SHOP, shlex.quote(self.own))
        _, _, task = block.how.partition("until done ")
        return self._until_done(task, text, environment) if task else self._run(text, environment)

    def _shell(self, text: str) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", f"source .venv/bin/activate\n{text}"]

    def _run(self, text: str, environment: dict[str, str]) -> str:
        with subprocess.Popen(
            self._shell(text),
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as child:
            try:
                said, _ = child.communicate(timeout=LIMIT_S)
            finally:
                with suppress(ProcessLookupError):  # what a page leaves running when it fails
                    os.killpg(child.pid, signal.SIGKILL)
        assert child.returncode == 0, f"{text}\n{said}"
        return said

    def _until_done(self, task: str, text: str, environment: dict[str, str]) -> str:
        dsn = environment.get("DATABASE_URL") or embedded.ensure(self.base)
        output = self.directory / "output"
        with output.open("w") as file:
            child = subprocess.Popen(
                self._shell(text), cwd=self.directory, env=environment, stdout=file, stderr=file, process_group=0
            )
        try:
            wait_until_gone(dsn, task, lambda: child.poll() is None, output)
            os.killpg(child.pid, signal.SIGINT)
            assert child.wait(LIMIT_S) == 0, output.read_text()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        return output.read_text()


def wait_until_gone(dsn: str, task: str, lives: Callable[[], bool], output: Path) -> None:
    """Return when no job of a task is left; the worker that runs them must live so long."""
    limit = time.monotonic() + LIMIT_S
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            row = conn.execute(
                "select count(*) from fastq.job where task = %s and state not in ('failed', 'discarded')", [task]
            ).fetchone()
            if row == (0,):
                return
            assert lives(), f"the worker ended before the jobs did: {output.read_text()}"
            assert time.monotonic() < limit, f"{row} jobs of {task} are left: {output.read_text()}"
            time.sleep(0.02)  # the pace of looking, not a guess at how long it takes


@pytest.fixture
def reader(empty_dsn: str, tmp_path: Path) -> Iterator[Reader]:
    """Give somebody in an empty directory, whose .venv is the one that runs the tests."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    parts = conninfo.conninfo_to_dict(empty_dsn)
    name = parts.pop("dbname")
    base = Path(tempfile.mkdtemp(prefix="fastq-readme-"))
    base.chmod(0o755)
    try:
        yield Reader(tmp_path, base, f"postgresql:///{name}?{urlencode(parts)}")
    finally:
        embedded.stop(base)
        embedded.release(base)
        shutil.rmtree(base, ignore_errors=True)


def test_every_block_does_what_the_readme_says(reader: Reader) -> None:
    """Files, shell commands, SQL and workers of the README run in its order, as typed."""
    said = [(block.how, reader.follow(block)) for block in blocks() if block.how != "run: make"]

    assert any(how.endswith("jobs.welcome") and "welcome, user 7" in text for how, text in said)
    with psycopg.connect(reader.own) as conn:
        assert conn.execute("select sum(cents), count(*) from ledger").fetchone() == (2050, 2)
        counts = conn.execute("select state, count(*) from fastq.job where task = 'jobs.welcome' group by 1").fetchall()
    assert dict(counts) == {"ready": 1 + 100_000 + 1000, "scheduled": 1}


def test_every_block_does_what_the_tutorial_says(reader: Reader) -> None:
    """The tutorial's files, commands and workers run in its order, as typed; it ends as it says."""
    said = [reader.follow(block) for block in blocks("docs/tutorial.md")]

    assert "FileNotFoundError" in said[-1]
    assert "poem.txt" in said[-1]


@pytest.mark.parametrize("page", ["docs/unique.md", "docs/two_phase.md", "docs/groups.md"])
def test_every_block_of_a_page_runs(reader: Reader, page: str) -> None:
    """The page's files, commands and SQL run in its order, as typed."""
    for block in blocks(page):
        reader.follow(block)


def test_the_two_commands_of_the_readme(tmp_path: Path) -> None:
    """`make demo` and `make test` run as typed; the environment makes them small, and .venv the one we are in."""
    for entry in Path(sys.prefix).iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    stamp = tmp_path / ".installed"
    stamp.unlink(missing_ok=True)  # ours, not the real environment's
    stamp.touch()
    small = {"VENV": str(tmp_path), "FASTQ_DEMO_FILES": "20", "FASTQ_DEMO_NOOP": "1000"}
    small["PYTEST_ADDOPTS"] = "tests/unit/test_embedded_paths.py"
    outer = ("MAKE", "MFLAGS", "ARGS", "PYTEST")  # of the `make test` that may run us
    environment = {name: value for name, value in os.environ.items() if not name.startswith(outer)} | small
    said = []
    for text in [block.text for block in blocks() if block.how == "run: make"]:
        done = subprocess.run(
            ["bash", "-euc", text], cwd=TOP, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)

    assert "jobs/s" in said[0]
    assert re.search(r"\d+ passed", said[1])


@pytest.mark.parametrize(
    ("name", "task", "enqueued", "worked"),
    [
        ("quickstart", "quickstart.welcome", "enqueued job", "welcome, user 8"),
        ("transactional", "transactional.ship", "no a chair left", "shipped order 1"),
        ("bulk", "bulk.resize", "enqueued 100,000 jobs", ""),
        ("schedules", "schedules.remind", "enqueued two reminders", "reminded Grace"),
        ("ordered_groups", "ordered_groups.book", "-30 on ada is waiting", "booked +5 on alan"),
        ("fair_groups", "fair_groups.export", "enqueued 1001 exports for 2 tenants", "export 0 of small"),
        ("unique_jobs", "unique_jobs.report", "asked for 6 reports, 3 of them twice", "report for customer 4"),
        ("two_phase", "two_phase.deliver", "order 3 took too long", "delivered order 1"),
    ],
)
def test_examples_enqueue_and_work(reader: Reader, name: str, task: str, enqueued: str, worked: str) -> None:
    """Each example enqueues when it is run, and a worker then does all of its jobs."""
    shutil.copy(EXAMPLES / f"{name}.py", reader.directory)

    assert enqueued in reader.follow(Block("run: own server", f"fastq migrate\npython {name}.py\n"))
    said = reader.follow(Block(f"run: own server, until done {task}", f"fastq worker {name}:app\n"))
    assert worked in said


def test_every_example_is_tested() -> None:
    """Some test here names each file of examples/ in order to run it."""
    named = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.stem}' not in named] == []
