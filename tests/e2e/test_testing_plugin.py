"""The pytest plugin in projects of its users, and the examples that test a FastAPI and a Django application."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from test_readme import blocks

pytestmark = pytest.mark.e2e
pytest_plugins = ["pytester"]

EXAMPLES = Path(__file__).parents[2] / "examples"
QUIET = ("-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")

PROJECT = """
import psycopg
import pytest
import fastq
from fastq import testing

app = fastq.App()

@app.task
async def greet(name: str) -> str:
    return "hello " + name

@pytest.fixture(scope="session")
def fastq_prepare():
    def prepare(dsn):
        with psycopg.connect(dsn) as conn:
            conn.execute("create table guest (name text)")
    return prepare

@pytest.fixture
def anyio_backend():
    return "asyncio"

def check_and_fill(dsn):
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select name from guest").fetchall() == []
        conn.execute("insert into guest values ('ada')")
    assert testing.enqueued(app) == []

def test_synchronous(fastq_dsn):
    check_and_fill(fastq_dsn)
    with app:
        greet.enqueue_sync("ada")
        assert [run.result for run in testing.drain_sync(app).ended] == ["hello ada"]
        greet.enqueue_sync("left behind")

@pytest.mark.asyncio
async def test_pytest_asyncio(fastq_dsn):
    check_and_fill(fastq_dsn)
    async with app:
        await greet.enqueue("ada")
        assert len(await testing.drain(app)) == 1
        await greet.enqueue("left behind")

@pytest.mark.anyio
async def test_anyio(fastq_dsn):
    check_and_fill(fastq_dsn)
    async with app:
        await greet.enqueue("ada")
        testing.assert_enqueued(greet, name="ada")
    assert await testing.run_job(app, greet.job("bob")) == "hello bob"
"""


HANGING = """
import asyncio
import fastq
from fastq import testing

app = fastq.App()

@app.task
async def hang():
    print("hanging", flush=True)
    await asyncio.Event().wait()

with app:
    hang.enqueue_sync()
try:
    testing.drain_sync(app)
except KeyboardInterrupt:
    print("interrupted")
"""


def databases(server: str) -> set[str]:
    """Return the databases that tests make."""
    with psycopg.connect(server, autocommit=True) as conn:
        query = "select datname from pg_database where datname like 'test\\_%' or datname like 'fastq\\_template%'"
        return {row[0] for row in conn.execute(query)}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, server: str) -> str:
    """Let what runs here know of a server to test on, and of nothing else; returns it."""
    for name in list(os.environ):
        if name.startswith(("FASTQ_", "PG", "DATABASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FASTQ_TEST_DSN", server)
    return server


def test_a_database_per_test(pytester: pytest.Pytester, elsewhere: str) -> None:
    """Synchronous tests, pytest-asyncio's and anyio's each get a fresh copy; none is left behind."""
    pytester.makepyfile(PROJECT)
    before = databases(elsewhere)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=3)
    assert databases(elsewhere) - before == set()


def test_an_embedded_server(pytester: pytest.Pytester, elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FASTQ_TEST_DSN the session has a server of its own, whatever FASTQ_DSN is; nothing of it is left."""
    monkeypatch.delenv("FASTQ_TEST_DSN")
    monkeypatch.setenv("FASTQ_DSN", "host=/nowhere")
    pytester.makepyfile(PROJECT)
    pytester.makeconftest(
        """
        import pathlib, pytest
        from psycopg import conninfo

        @pytest.fixture(autouse=True)
        def told(fastq_server):
            pathlib.Path("server").write_text(conninfo.conninfo_to_dict(fastq_server)["host"])
        """
    )
    pytester.runpytest_subprocess(*QUIET, "-k", "synchronous").assert_outcomes(passed=1, deselected=2)
    directory = Path((pytester.path / "server").read_text()).parent
    assert "fastq-test-" in directory.name
    assert not directory.exists()


def test_a_project_without_jobs(pytester: pytest.Pytester, elsewhere: str) -> None:
    """The plugin imports nothing but pytest: no driver, no event loop, nothing of fastq's that coverage would miss."""
    pytester.makepyfile(
        """
        import sys

        def test_loads_little():
            loaded = {name for name in sys.modules if name.split(".")[0] in ("fastq", "psycopg", "uvloop")}
            assert loaded == {"fastq", "fastq.testing", "fastq.testing.plugin"}
        """
    )
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=1)


def test_interrupted(dsn: str, tmp_path: Path) -> None:
    """Ctrl-C ends a synchronous drain: the job goes back into line, and the interrupt is raised."""
    (tmp_path / "program.py").write_text(HANGING)
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "hanging\n"
        program.send_signal(signal.SIGINT)
        assert program.stdout.read() == "interrupted\n"
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select state, attempt from fastq.job").fetchall() == [("ready", 0)]


def needs(module: str) -> pytest.MarkDecorator:
    """Skip where a framework is not installed."""
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@needs("fastapi")
def test_the_fastapi_example(pytester: pytest.Pytester, elsewhere: str) -> None:
    """Its tests pass as they stand."""
    shutil.copytree(EXAMPLES / "testing_fastapi", pytester.path, dirs_exist_ok=True)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=5)


@needs("django")
def test_the_django_example(tmp_path: Path, elsewhere: str) -> None:
    """Its tests pass as they stand, with Django's own runner, which drops its database in the end."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "django_shop", project)
    name = f"shop_{os.getpid()}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "test"],
        cwd=project,
        env={**os.environ, "DATABASE_URL": psycopg.conninfo.make_conninfo(elsewhere, dbname=name)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 6 tests" in done.stderr
    assert f"test_{name}" not in databases(elsewhere)


def test_the_manual(pytester: pytest.Pytester, elsewhere: str) -> None:
    """The files in docs/testing.md are a project whose tests pass."""
    for how, text in blocks("docs/testing.md"):
        (pytester.path / how.removeprefix("file: ")).write_text(text)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=4)
