"""Databases, roles and environments that somebody has set in their own way: every route works, direct and pooled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from pooler import PGBOUNCER, pooler

import fastq
from fastq import testing
from fastq.cli.main import cli

pytestmark = pytest.mark.e2e

STRANGE: dict[str, dict[str, str]] = {
    "what is read": {
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kolkata",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "client_encoding": "LATIN1",
    },
    "what is written": {
        "array_nulls": "off",
        "standard_conforming_strings": "off",
        "transform_null_equals": "on",
        "search_path": "nowhere",
        "client_encoding": "SQL_ASCII",
        "DateStyle": "SQL, DMY",
    },
    "serializable": {"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on"},
    "repeatable read": {"default_transaction_isolation": "repeatable read"},
    "timeouts": {
        "statement_timeout": "300ms",
        "lock_timeout": "300ms",
        "idle_in_transaction_session_timeout": "300ms",
        "idle_session_timeout": "300ms",
    },
    "plans": {
        "jit": "on",
        "jit_above_cost": "0",
        "enable_indexscan": "off",
        "enable_indexonlyscan": "off",
        "enable_nestloop": "off",
        "enable_hashjoin": "off",
        "plan_cache_mode": "force_custom_plan",
        "row_security": "off",
        "default_toast_compression": "pglz",
        "synchronous_commit": "off",
    },
}
EVERYTHING = {name: value for settings in reversed(STRANGE.values()) for name, value in settings.items()}
ENVIRONMENT = {
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kolkata",
    "PGCLIENTENCODING": "LATIN1",
    "PGOPTIONS": "-c statement_timeout=300ms -c default_transaction_isolation=serializable -c extra_float_digits=-15",
}
JOBS = """
import fastq

app = fastq.App()

@app.task
async def plain(text: str) -> None: ...

@app.task(retries=1, backoff=0.01)
async def second_try(text: str, ctx: fastq.Context) -> None:
    await ctx.checkpoint({"text": text})
    if ctx.attempt < 2:
        raise ValueError(text)
    assert ctx.saved == {"text": text}

@app.task(retries=0)
async def fails(text: str) -> None:
    raise ValueError(text)

@app.task(keep=3600)
def kept(text: str) -> str:
    return text * 2

@app.task(retries=100, backoff=0.01)
async def booked(text: str, ctx: fastq.Context) -> None:
    async with ctx.transaction() as conn:
        await conn.execute("insert into public.booked values (%s)", [text])
        await ctx.enqueue(plain.options(unique_key=text).job(text=text))
"""
PATIENT = "".join(f" -c {name}=0" for name in STRANGE["timeouts"])
TEXT = "ä→😀"
OUTCOMES = ("failed", "succeeded")


@contextmanager
def settled(db: psycopg.Connection[Any], settings: dict[str, str]) -> Iterator[None]:
    """Set a database like that; psycopg's own sessions of the test need none of it."""
    for name, value in settings.items():
        db.execute(f"alter database {db.info.dbname} set {name} = {value!r}".encode())
    try:
        yield
    finally:
        db.execute(f"alter database {db.info.dbname} reset all".encode())


@pytest.fixture
def project(tmp_path: Path, db: psycopg.Connection[Any]) -> Path:
    """Give a folder with an app, and its table."""
    (tmp_path / "strange.py").write_text(JOBS)
    db.execute("create table booked (text text)")
    return tmp_path


@pytest.fixture
def app(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fastq.App]:
    """Give that app in this process."""
    monkeypatch.syspath_prepend(str(project))
    import strange

    yield strange.app
    del sys.modules["strange"]


def fastq_cli(*args: str) -> str:
    """Run a command, in this process, to its good end; returns what it wrote."""
    done = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def drain_here(app: fastq.App, project: Path) -> None:
    """Run all that is ready, and what has to be tried again, in this process."""
    testing.drain_sync(app, retries=True, check=False)


def work(app: fastq.App, project: Path) -> None:
    """The same by a real fleet, which has no trouble with the database."""
    command = [sys.executable, "-m", "fastq", "worker", "strange:app", "-p", "1", "--burst", "--poll-interval", "0.1"]
    done = subprocess.run(command, cwd=project, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trouble" not in done.stderr, done.stderr


async def enqueue_asynchronously(app: fastq.App, dsn: str) -> None:
    """Enqueue by every asynchronous route, the caller's own connection among them."""
    plain, later = app.find_task("plain"), datetime.now(UTC) + timedelta(days=1)
    async with app:
        refs = [await app.find_task(name).enqueue(text=TEXT) for name in ("second_try", "fails", "kept", "booked")]
        await asyncio.gather(*(plain.enqueue(text=TEXT) for _ in range(5)))
        await plain.options(delay=0.01).enqueue(text=TEXT)
        scheduled = await plain.options(run_at=later, headers={"x": TEXT}, group_key=TEXT).enqueue(text=TEXT)
        await plain.options(ordered=True, group_key=TEXT).enqueue(text=TEXT)
        reserved = await app.reserve(plain.options(unique_key=TEXT).job(text=TEXT))
        assert (await plain.options(unique_key=TEXT).enqueue(text=TEXT)).duplicate
        assert await app.commit(reserved)
        for count in (3, 300):
            await app.enqueue_many(plain.job(text=TEXT) for _ in range(count))
        await app.enqueue_many([plain.options(run_at=later).job(text=TEXT)] * 300)
        for autocommit in (True, False):
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit, options=PATIENT) as own:
                before = own.info.parameter_status("client_encoding")
                await app.enqueue(plain.job(text=TEXT), conn=own)
                await app.enqueue(plain.options(unique_key=f"{TEXT}{autocommit}").job(text=TEXT), conn=own)
                await app.enqueue(plain.options(run_at=later).job(text=TEXT), conn=own)
                await app.enqueue_many([plain.job(text=TEXT)] * 300, conn=own)
                assert await app.commit(await app.reserve(plain.job(text=TEXT), conn=own), conn=own)
                assert own.info.parameter_status("client_encoding") == before
        found = await app.jobs.get(scheduled.id)
        assert found is not None
        assert (found.run_at, found.headers, found.args) == (later, {"x": TEXT}, {"text": TEXT})
        assert found.enqueued_at is not None
        assert abs(found.enqueued_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert len(await app.jobs.list(state="scheduled", limit=1000)) >= 303
        assert (await app.jobs.get(refs[0].id)) is not None


def enqueue_synchronously(app: fastq.App, dsn: str) -> None:
    """The same from synchronous code, and from SQL."""
    plain, later = app.find_task("plain"), datetime.now(UTC) + timedelta(days=1)
    with app:
        plain.enqueue_sync(text=TEXT)
        plain.options(unique_key=TEXT).enqueue_sync(text=TEXT)
        app.enqueue_many_sync([plain.job(text=TEXT)] * 300)
        for autocommit in (True, False):
            with psycopg.connect(dsn, autocommit=autocommit, options=PATIENT) as own:
                before = own.info.parameter_status("client_encoding")
                app.enqueue_sync(plain.job(text=TEXT), conn=own)
                app.enqueue_sync(
                    plain.options(run_at=later, unique_key=f"s{TEXT}{autocommit}").job(text=TEXT), conn=own
                )
                app.enqueue_many_sync([plain.job(text=TEXT)] * 300, conn=own)
                assert own.info.parameter_status("client_encoding") == before
                own.execute("""select fastq.enqueue('strange.plain', '{"text": "sql"}', delay => '10 ms')""")
        assert app.jobs.list_sync(limit=5000)


Runner = Callable[[fastq.App, Path], None]
Db = psycopg.Connection[Any]


def everything_works(app: fastq.App, dsn: str, project: Path, db: Db, run: Runner) -> None:
    """Enqueue by every route, run all of it, look at it, and check that each job did once what it had to do."""
    asyncio.run(enqueue_asynchronously(app, dsn))
    enqueue_synchronously(app, dsn)
    waiting = """select exists (select from fastq.job where state not in ('failed', 'succeeded')
                                and (run_at is null or run_at < now() + interval '1 hour'))"""
    while db.execute(waiting).fetchone() == (True,):
        run(app, project)
    assert db.execute("select text from booked").fetchall() == [(TEXT,)]
    states = dict(db.execute("select state, count(*) from fastq.job group by state").fetchall())
    assert states == {"failed": 1, "succeeded": 1, "scheduled": 305}
    failed, succeeded = (db.execute("select id from fastq.job where state = %s", [s]).fetchone() for s in OUTCOMES)
    assert failed is not None
    assert succeeded is not None
    assert TEXT in json.loads(fastq_cli("jobs", "show", str(failed[0]), "--json"))["errors"][0]["message"]
    assert json.loads(fastq_cli("jobs", "show", str(succeeded[0]), "--json"))["result"] == TEXT * 2
    assert json.loads(fastq_cli("status", "--json"))["queues"][0]["scheduled"] == 305
    for command in ("jobs", "queues", "workers"):
        fastq_cli(command, "list")
    fastq_cli("jobs", "retry", str(failed[0]))


@pytest.mark.parametrize("settings", STRANGE.values(), ids=STRANGE)
def test_a_database_with_settings_of_its_own(
    app: fastq.App, dsn: str, db: Db, project: Path, settings: dict[str, str]
) -> None:
    """No statement depends on them, and the caller's connections keep theirs."""
    with settled(db, settings):
        everything_works(app, dsn, project, db, drain_here)


def test_a_fleet_in_a_strange_world(
    app: fastq.App, dsn: str, db: Db, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it at once, and PGDATESTYLE, PGCLIENTENCODING, PGTZ and PGOPTIONS on top."""
    with settled(db, EVERYTHING), monkeypatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        everything_works(app, dsn, project, db, work)


@pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
def test_a_fleet_in_a_strange_world_behind_a_pooler(
    app: fastq.App, dsn: str, db: Db, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no session may be left changed, each transaction brings along what it needs."""
    world = dict(EVERYTHING)
    del world["idle_session_timeout"]  # PgBouncer's sessions are idle
    with settled(db, world), pooler(dsn) as pooled:
        monkeypatch.setenv("FASTQ_DSN", pooled)
        everything_works(app, dsn, project, db, work)


def test_a_strange_database_is_migrated(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And found to be what this fastq needs."""
    monkeypatch.setenv("FASTQ_DSN", empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as db, settled(db, EVERYTHING):
        fastq_cli("migrate")
        fastq_cli("migrate", "--check")
        assert db.execute("select fastq.enqueue('t', '{}') is not null").fetchone() == (True,)
