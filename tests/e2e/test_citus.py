"""A cluster of Citus, where there is one: FASTQ_TEST_CITUS_DSN names its coordinator, whose schema is made anew.

To be run by itself: a process that has met a cluster takes all its databases for one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import citus_app
import psycopg
import pytest
from children import search_path
from psycopg import conninfo
from roles import script
from starlette.testclient import TestClient

import fastq
from fastq.dashboard import asgi
from fastq.dashboard.pages import PAGES

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif("FASTQ_TEST_CITUS_DSN" not in os.environ, reason="there is no cluster: FASTQ_TEST_CITUS_DSN"),
]
SHARDS = 8
ROLES = ("citus_worker", "citus_web", "fastq_worker", "fastq_producer", "fastq_monitor")
Db = psycopg.Connection[Any]


def nodes(db: Db) -> list[str]:
    """Return the DSNs of the nodes that hold shards."""
    found = db.execute("select nodename, nodeport from pg_dist_node where shouldhaveshards").fetchall()
    return [conninfo.make_conninfo(db.info.dsn, host=host, port=port) for host, port in found]


def cli(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    env = {**os.environ, "FASTQ_DSN": dsn}
    return subprocess.run(
        [sys.executable, "-m", "fastq", *arguments], env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def cluster() -> str:
    """Give the coordinator's DSN, with a new schema spread over the nodes."""
    dsn = os.environ["FASTQ_TEST_CITUS_DSN"]
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("set client_min_messages = error")
        db.execute("drop schema if exists fastq cascade")
        for node in nodes(db):
            with psycopg.connect(node, autocommit=True) as there:
                there.execute("set citus.enable_ddl_propagation = off")
                there.execute("set client_min_messages = error")
                for (name,) in there.execute(
                    r"select nspname from pg_namespace where nspname like 'fastq\_s%'"
                ).fetchall():
                    there.execute(f"drop schema {name} cascade".encode())
        for table in ("booked (n int)", "span (job int8, ran tstzrange)"):
            db.execute(f"drop table if exists {table.split()[0]}".encode())
            db.execute(f"create table {table}".encode())
        db.execute("select create_distributed_table('booked', 'n')")
        db.execute("select create_distributed_table('span', 'job')")
    done = cli(dsn, "migrate", "--shards", str(SHARDS), "--citus")
    assert done.returncode == 0, done.stderr
    done = cli(dsn, "queues", "set", "few", "--max-running", "3")
    assert done.returncode == 0, done.stderr
    return dsn


@pytest.fixture
def db(cluster: str) -> Iterator[Db]:
    """Give a connection to the coordinator."""
    with psycopg.connect(cluster, autocommit=True) as conn:
        yield conn


@contextmanager
def at_work(dsn: str) -> Iterator[None]:
    """Let two workers be at work; they end well, and sign off in each shard."""
    env = {**os.environ, "PYTHONPATH": search_path(Path(__file__).parent), "FASTQ_DSN": dsn}
    command = [sys.executable, "-m", "fastq", "worker", "citus_app:app", "-p", "2"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        told = ""
        try:
            while told.count("is ready") < 2:
                told += (line := child.stderr.readline())
                assert line, told
            yield
        finally:
            child.terminate()
            told += child.communicate(timeout=60)[1]
    assert child.returncode == 0, told
    raised = {line.partition(":")[0] for line in told.splitlines() if line[:1].isupper() and "Error" in line}
    assert raised <= {"ValueError"}, told
    with psycopg.connect(dsn) as conn:
        assert count(conn, "fastq.worker") == 0


@pytest.fixture
def fleet(cluster: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let two workers be at work; FASTQ_DSN names their database."""
    monkeypatch.setenv("FASTQ_DSN", cluster)
    with at_work(cluster):
        yield


def count(db: Db, what: str) -> int:
    """Return how many rows there are."""
    ((found,),) = db.execute(f"select count(*) from {what}".encode()).fetchall()
    return int(found)


def unfinished(db: Db) -> int:
    """Return how many jobs have not ended. (Before PostgreSQL 17 Citus takes no condition for the view `job`.)"""
    return sum(count(db, f"fastq.{table}") for table in ("ready", "scheduled", "line", "lease"))


async def until(check: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(0.1)


async def test_jobs_of_every_kind_run(db: Db, fleet: None) -> None:
    """Once, with their results, in all shards; what a handler wrote in its own transaction is there once."""
    app, noop = citus_app.app, citus_app.noop
    async with app:
        for n in range(4 * SHARDS):
            await noop.enqueue(n=n)
            await citus_app.book.enqueue(n=n)
        await app.enqueue_many(noop.job(n=n) for n in range(2000))
        await app.enqueue_many(citus_app.flaky.job(n=n) for n in range(10))
        await app.enqueue_many(citus_app.bad.job(n=n) for n in range(5))
        for n in range(10):
            await noop.options(group_key=f"g{n % 3}", ordered=True).enqueue(n=n)
            await noop.options(delay=0.1).enqueue(n=n)
        twice = [await noop.options(unique_key=f"k{n % 5}", delay=1.0).enqueue(n=n) for n in range(10)]
        assert [ref.duplicate for ref in twice] == [False] * 5 + [True] * 5
        sums = [await citus_app.adds.enqueue(a=n, b=1) for n in range(5)]
        reserved = [await app.reserve(noop.job(n=n)) for n in range(2)]
        assert await app.commit(reserved[0])
        assert await app.abandon(reserved[1])
        with pytest.raises(fastq.ReservationGone):
            await app.commit(reserved[1])
        assert [await ref.result(timeout=60) for ref in sums] == [n + 1 for n in range(5)]
        await until(lambda: unfinished(db) == 0)
    assert db.execute("select count(*), count(distinct n) from booked").fetchone() == (4 * SHARDS, 4 * SHARDS)
    assert count(db, "fastq.finished where state = 'failed'") == 5


async def test_in_the_callers_transaction(cluster: str, db: Db, fleet: None) -> None:
    """Rolled back with it, and visible with it."""
    app, book = citus_app.app, citus_app.book
    before = count(db, "booked")
    async with app, await psycopg.AsyncConnection.connect(cluster) as theirs:
        await theirs.execute("insert into booked values (-1)")
        await app.enqueue(book.job(n=-2), conn=theirs)
        await theirs.rollback()
        await theirs.execute("insert into booked values (-3)")
        await app.enqueue(book.job(n=-4), conn=theirs)
        await theirs.commit()
        await until(lambda: count(db, "booked") == before + 2)
    assert count(db, "booked where n in (-1, -2)") == 0


async def test_a_limit_holds_over_all_nodes(cluster: str, db: Db, fleet: None) -> None:
    """No more than three run at a time, whatever shards they are in."""
    async with citus_app.app as app:
        for _ in range(SHARDS):
            await app.enqueue_many(citus_app.few.job(n=n) for n in range(3))
        await until(lambda: count(db, "span where upper(ran) is not null") == 3 * SHARDS)
    spans = db.execute("select lower(ran), upper(ran) from span").fetchall()
    assert max(sum(1 for begin, end in spans if begin <= at < end) for at, _ in spans) <= 3


def test_commands(cluster: str, db: Db) -> None:
    """What people type."""
    db.execute("select fastq.enqueue('x', '{}', queue => 'cold', delay => '1 hour') from generate_series(1, 3)")
    first, second, third = [row[0] for row in db.execute("select id from fastq.scheduled order by id").fetchall()]
    assert cli(cluster, "jobs", "cancel", str(first)).stdout.strip() == f"cancelled job {first}"
    assert cli(cluster, "jobs", "retry", str(first)).stdout.strip() == f"retried job {first}"
    assert cli(cluster, "jobs", "delete", str(second)).stdout.strip() == f"deleted job {second}"
    assert "scheduled" in cli(cluster, "jobs", "show", str(third)).stdout
    assert str(third) in cli(cluster, "jobs", "list", "--queue", "cold").stdout
    for command in ("status", "queues list", "fleet list", "schedules list", "check", "jobs list --state failed"):
        done = cli(cluster, *command.split())
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert "cold" in cli(cluster, "status").stdout
    assert cli(cluster, "doctor").stderr == ""
    for command in ("queues pause cold", "queues resume cold", "queues purge cold --yes", "jobs retry --all --yes"):
        done = cli(cluster, *command.split())
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert count(db, "fastq.scheduled") == 0


async def test_roles_of_their_own(cluster: str, db: Db) -> None:
    """With the grants of docs/roles.md a worker works, and a producer enqueues and can do nothing else."""
    for role in ROLES:
        db.execute(f"drop role if exists {role}".encode())
    db.execute(script().encode())
    try:
        db.execute("create role citus_worker login in role fastq_worker")
        db.execute("create role citus_web login in role fastq_producer")
        db.execute("grant insert, select on booked, span to fastq_worker")
        worker, web = (conninfo.make_conninfo(cluster, user=user) for user in ROLES[:2])
        with at_work(worker), psycopg.connect(web, autocommit=True) as theirs:
            async with fastq.App(web) as app:
                for n in range(2 * SHARDS):
                    await app.enqueue(citus_app.book.job(n=1000 + n))
                await app.enqueue(citus_app.noop.options(unique_key="theirs").job(n=1))
                await app.enqueue(citus_app.noop.options(group_key="theirs", ordered=True).job(n=1))
                await app.enqueue_many(citus_app.noop.job(n=n) for n in range(300))
            await until(lambda: unfinished(db) == 0 and count(db, "booked where n >= 1000") == 2 * SHARDS)
            for forbidden in ("delete from fastq.ready", "select * from fastq.lease", "select fastq.pause('x')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    theirs.execute(forbidden.encode())
    finally:
        for role in ROLES:
            db.execute(f"drop owned by {role}".encode())
            db.execute(f"drop role {role}".encode())


@pytest.mark.parametrize("path", sorted(PAGES))
def test_pages(cluster: str, path: str) -> None:
    """Each shows what there is in all shards."""
    with TestClient(asgi(cluster), raise_server_exceptions=True) as client:
        found = client.get(
            path, params={"/job": {"id": "1"}, "/queue": {"name": "few"}, "/task": {"name": "t"}}.get(path)
        )
    assert found.status_code == (404 if path == "/job" else 200), found.text
    assert "refused" not in found.text


def test_it_can_be_done_again(cluster: str) -> None:
    """After each migration, and for more shards."""
    done = cli(cluster, "migrate", "--shards", str(SHARDS + 2), "--citus")
    assert done.returncode == 0, done.stderr
    assert f"made the functions of shard {SHARDS + 1}" in done.stdout + done.stderr
