"""`fastq db`: the embedded server, from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fastq import embedded

pytestmark = pytest.mark.e2e


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty base directory, named by FASTQ_HOME; its server is stopped afterwards."""
    path = Path(tempfile.mkdtemp(prefix="fastq-test-db-"))
    path.chmod(0o755)
    monkeypatch.setenv("FASTQ_HOME", str(path))
    yield path
    embedded.stop(path)
    embedded.release(path)
    shutil.rmtree(path, ignore_errors=True)


def db(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Run `fastq db …`."""
    command = [sys.executable, "-m", "fastq", "db", *arguments]
    return subprocess.run(command, input=answer, capture_output=True, text=True, timeout=90, check=False)


def test_start_prints_a_dsn_that_serves_a_migrated_database(base: Path) -> None:
    """The JSON's DSN works when the command is gone, twice in a row, and the schema is there."""
    first, second = (json.loads(db("start", "--json").stdout) for _ in range(2))

    assert first == second == {"dsn": embedded.status(base).dsn}
    with psycopg.connect(first["dsn"]) as conn:
        assert conn.execute("select count(*) from fastq.job").fetchone() == (0,)
    assert embedded.status(base).detached


def test_start_tells_people_what_it_did(base: Path) -> None:
    """Without --json: where the server is, how long it stays, and the DSN."""
    said = db("start").stdout

    assert said.startswith("embedded PostgreSQL ")
    assert f" in {base} " in said
    assert "fastq db stop" in said
    assert embedded.status(base).dsn in said


def test_status_follows_the_server(base: Path) -> None:
    """Not there, running, stopped: for people and for machines; looking changes nothing."""
    assert "not running" in db("status").stdout
    assert list(base.iterdir()) == []
    db("start")
    running = json.loads(db("status", "--json").stdout)
    assert (running["running"], running["detached"], running["base"]) == (True, True, str(base))
    assert running["data_bytes"] > 1_000_000
    assert f"{running['pid']}" in db("status").stdout

    assert db("stop").stdout == "stopped\n"
    assert db("stop").stdout == "it was not running\n"
    stopped = json.loads(db("status", "--json").stdout)
    assert (stopped["running"], stopped["pid"]) == (False, None)
    assert stopped["data"] == running["data"]


def test_psql_runs_against_the_server_and_starts_it(base: Path) -> None:
    """Psql's own arguments and standard input are passed on, its exit code is ours."""
    assert db("psql", "-Atc", "select 1 + 1").stdout == "2\n"
    assert db("psql", "--", "-At", answer="select 'from stdin';").stdout == "from stdin\n"
    assert db("psql", "-v", "ON_ERROR_STOP=1", answer="select nonsense;").returncode == 3


def test_without_a_psql_it_says_so(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binaries without psql, and none on PATH: one sentence."""
    db("start")
    server = embedded.program("postgres", base)
    bare = base / "bin"
    bare.mkdir()
    for name in ("postgres", "initdb"):
        (bare / name).symlink_to(server.with_name(name))
    monkeypatch.setenv("FASTQ_PG_BIN", str(bare))
    monkeypatch.setenv("PATH", str(bare))

    done = db("psql")

    assert done.returncode == 3
    assert done.stderr.startswith("fastq: there is no psql here")
    assert done.stderr.count("\n") == 1


def test_reset_asks_before_it_deletes(base: Path) -> None:
    """Nothing goes without a yes or --yes; then the data is gone and the next start has a fresh schema."""
    dsn = json.loads(db("start", "--json").stdout)["dsn"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table mine ()")

    for answer in ("", "n\n"):
        refused = db("reset", answer=answer)
        assert (refused.returncode, embedded.status(base).running) == (2, True)
        assert "nothing was deleted" in refused.stderr
    data = embedded.status(base).data
    assert db("reset", answer="y\n").stdout == f"deleted {data}\n"
    assert embedded.status(base).data is None
    assert "there is nothing" in db("reset", "--yes").stdout

    db("start")
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select to_regclass('mine'), to_regclass('fastq.ready') is not null").fetchone() == (
            None,
            True,
        )
    assert db("reset", "--yes").returncode == 0


def test_an_unusable_base_gets_one_sentence(tmp_path: Path) -> None:
    """A file where the directory should be is explained, with what to set instead."""
    (tmp_path / "file").touch()

    done = db("start", "--base", str(tmp_path / "file" / "below"))

    assert done.returncode == 3
    assert done.stderr.startswith("fastq: ")
    assert "FASTQ_HOME" in done.stderr
    assert "Traceback" not in done.stderr
