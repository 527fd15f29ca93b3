"""PgBouncer in transaction mode between fastq and the server. Skipped where it is not installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pooler import PATIENCE_S, PGBOUNCER, pooler, wait

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")]

SETTINGS = ("synchronous_commit", "enable_seqscan", "enable_bitmapscan", "jit", "lock_timeout")
JOBS = """
import fastq

app = fastq.App()

@app.task
async def plain(n: int) -> None: ...

@app.task(retries=3, backoff=0.01)
async def second_try(n: int, ctx: fastq.Context) -> None:
    if ctx.attempt < 2:
        raise ValueError(n)

@app.task
async def booked(n: int, ctx: fastq.Context) -> None:
    async with ctx.transaction() as conn:
        await conn.execute("insert into booked values (%s)", [n])
"""
PRODUCER = """
import asyncio
from jobs import app, booked, plain, second_try

async def main() -> None:
    async with app:
        await asyncio.gather(*(plain.enqueue(n=n) for n in range(300)))
        for n in range(20):
            await plain.enqueue(n=n)
        await app.enqueue_many(booked.job(n=n) for n in range(200))
        await app.enqueue_many(second_try.job(n=n) for n in range(50))
    with app:
        for n in range(20):
            plain.enqueue_sync(n=n)
        app.enqueue_many_sync(plain.job(n=n) for n in range(100))

asyncio.run(main())
"""


@pytest.fixture
def pooled(dsn: str) -> Iterator[str]:
    """Give the conninfo of a PgBouncer before the test's database: many clients, three sessions."""
    with pooler(dsn) as value:
        yield value


def run(project: Path, dsn: str, *command: str) -> None:
    """Run Python there to its end."""
    env = {**os.environ, "FASTQ_DSN": dsn}
    subprocess.run([sys.executable, *command], cwd=project, env=env, check=True, timeout=60)


@pytest.fixture
def project(tmp_path: Path, db: psycopg.Connection[Any]) -> Path:
    """Give a folder with an app and its producer."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "producer.py").write_text(PRODUCER)
    db.execute("create table booked (n int)")
    return tmp_path


@pytest.mark.parametrize("listening", [True, False])
def test_everything_works_through_it(
    pooled: str, dsn: str, db: psycopg.Connection[Any], project: Path, listening: bool
) -> None:
    """Producers and workers, plain jobs, retries and transactions; with a line of its own for LISTEN, and without."""
    where = ["--listen-dsn", dsn] if listening else []
    command = [sys.executable, "-m", "fastq", "worker", "jobs:app", "-p", "2", "--poll-interval", "0.1", *where]
    log = project / "log"
    with log.open("w") as errors:
        fleet = subprocess.Popen(command, cwd=project, env={**os.environ, "FASTQ_DSN": pooled}, stderr=errors)
    try:
        run(project, pooled, "producer.py")
        done = "select not exists (select from fastq.job)"
        wait("the jobs to be done", lambda: db.execute(done).fetchone() == (True,))
        assert db.execute("select count(*), count(distinct n) from booked").fetchone() == (200, 200)
        assert ("workers poll" in log.read_text()) is not listening
        fleet.send_signal(signal.SIGTERM)
        assert fleet.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        fleet.kill()
        fleet.wait()
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)
    assert "trouble" not in log.read_text()


def test_no_session_keeps_what_workers_set_for_themselves(
    pooled: str, db: psycopg.Connection[Any], project: Path
) -> None:
    """Others share the sessions: their commits must be as durable, and their plans as good, as without fastq."""
    run(project, pooled, "producer.py")
    run(project, pooled, "-m", "fastq", "worker", "jobs:app", "-p", "2", "--burst")
    assert db.execute("select count(*) from booked").fetchone() == (200,)
    fresh = {name: db.execute(f"show {name}".encode()).fetchone() for name in SETTINGS}
    seen = set()
    clients = [psycopg.connect(pooled, prepare_threshold=None) for _ in range(3)]
    try:
        for client in clients:  # each in a transaction that stays open, so that each has a session of its own
            seen.add(client.execute("select pg_backend_pid()").fetchone())
            assert {name: client.execute(f"show {name}".encode()).fetchone() for name in SETTINGS} == fresh
    finally:
        for client in clients:
            client.close()
    assert len(seen) == 3
