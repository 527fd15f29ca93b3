"""Two applications in one database, each in a schema of its own; and no schema `fastq` in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from children import search_path
from pooler import wait

import fastq.testing

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent
TESTING = Path(fastq.testing.__file__).parent / "sql"
WANTED = {"plain": 31, "failing": 1, "second": 5, "in line": 3}
EACH_STATEMENT = """
import re, sys
import psycopg
from fastq import sql
from fastq.bench import statements as bench
from fastq.testing import statements as testing

given = {name: sql.statement(name, 0, table="ready_0") for name in sql.names()}
given |= {name: bench.statement(name) for name in bench.names()}
given |= {name: testing.statement(name) for name in sys.argv[2:]}
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    for name, text in given.items():
        if re.match("checkpoint|vacuum", text):
            assert "fastq" not in text
            continue
        text = re.sub(r"%\\(\\w+\\)s|[$]\\d+", "null", text).replace("%%", "%")
        plain = re.match(r"lock|truncate", text)
        with conn.transaction(force_rollback=True):
            try:
                conn.execute(text if plain else f"explain {text}")
            except psycopg.Error as exc:
                print(name, str(exc).partition(chr(10))[0])
"""


@pytest.fixture
def both(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the DSN of a database with the schemas shop and blog, and a table in which both write what ran."""
    monkeypatch.setenv("FASTQ_DSN", empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create table public.seen (app text not null, what text not null)")
    assert "the schema is at" in command("migrate", "--schema", "shop")
    assert "the schema is at" in command("migrate", FASTQ_SCHEMA="blog")
    return empty_dsn


def command(*args: str, **env: str) -> str:
    """Run `fastq …`; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "fastq", *args], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(who: str) -> dict[str, str]:
    """Return how one of the two is told its schema: the shop by its app, the blog by the environment."""
    named = {"SCHEMA_OF_APP": who} if who == "shop" else {"FASTQ_SCHEMA": who}
    return {**os.environ, **named, "WHO": who, "PYTHONPATH": search_path(HERE)}


def seen(dsn: str) -> dict[str, Counter[str]]:
    """Return what each has run."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("select app, what, count(*) from public.seen group by 1, 2").fetchall()
    found: dict[str, Counter[str]] = {"shop": Counter(), "blog": Counter()}
    for who, what, count in rows:
        found[who][what] = count
    return found


@pytest.fixture
def running(both: str) -> Iterator[str]:
    """Start a supervisor of each."""
    with ExitStack() as stack:
        fleets = []
        for who in ("shop", "blog"):
            args = [sys.executable, "-m", "fastq", "worker", "two_apps:app", "-p", "1", "--poll-interval", "600"]
            fleets.append(stack.enter_context(subprocess.Popen(args, cwd=HERE, env=environment(who))))
            stack.callback(fleets[-1].kill)
        yield both
        for fleet in fleets:
            fleet.terminate()
        assert [fleet.wait(30) for fleet in fleets] == [0, 0]


def test_each_runs_its_own(running: str) -> None:
    """All of it, once, woken by its own notifications; results, schedules and the commands are those of a schema."""
    for who in ("shop", "blog"):
        done = subprocess.run(
            [sys.executable, "two_apps.py"], cwd=HERE, env=environment(who), capture_output=True, text=True, check=True
        )
        assert done.stdout == "7\n"
        subprocess.run([sys.executable, "two_apps.py", "sync"], cwd=HERE, env=environment(who), check=True)
    wait("all jobs", lambda: all(ran["tick"] and WANTED.items() <= ran.items() for ran in seen(running).values()))
    with psycopg.connect(running) as conn:
        assert conn.execute("select to_regnamespace('fastq')").fetchone() == (None,)
    for who in ("shop", "blog"):
        assert len(json.loads(command("status", "--schema", who, "--json"))["workers"]) == 1
        assert "tick" in command("schedules", "list", "--schema", who)


def test_commands_name_what_is_missing(both: str) -> None:
    """The schema that was asked for, and the command that makes it."""
    for args in (["status", "--schema", "other"], ["check", "--schema=other"]):
        done = subprocess.run([sys.executable, "-m", "fastq", *args], capture_output=True, text=True, check=False)
        assert done.returncode == 4
        assert done.stderr == "fastq: the database has no other schema: run `fastq migrate --schema other`\n"
    for name, why in (("Shop", "'Shop' cannot be the schema: its name is"), ("order", "'order' cannot be the schema")):
        done = subprocess.run(
            [sys.executable, "-m", "fastq", "migrate", "--schema", name], capture_output=True, text=True, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert why in done.stderr
    assert both


def test_a_dba_can_make_it_by_script(empty_dsn: str) -> None:
    """`fastq migrate --sql` prints the whole of it under that name."""
    text = command("migrate", "--sql", "--schema", "shop")
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(text.encode())
    assert "nothing to do" in command("migrate", "--schema", "shop", "--dsn", empty_dsn)
    assert "as this fastq needs it" in command("migrate", "--schema", "shop", "--check", "--dsn", empty_dsn)


def test_no_statement_asks_another_schema(both: str) -> None:
    """Each is planned by the server in a database without a schema `fastq`."""
    done = subprocess.run(
        [sys.executable, "-c", EACH_STATEMENT, both, *(path.stem for path in TESTING.glob("*.sql"))],
        env={**os.environ, "FASTQ_SCHEMA": "shop"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
