"""The roles of docs/roles.md, made from that page in a real database, under names that no other test has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo
from psycopg.errors import InsufficientPrivilege
from roles import JOBS, Db, as_role, command, planned, refused, script, states

from fastq.protocol import rotate
from fastq.protocol.rotate import Emptied
from fastq.schema import migrator
from fastq.sql import names

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def until(what: str, check: Callable[[], Any]) -> Any:
    """Return the first truthy value of `check()`."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := check()):
        assert time.monotonic() < deadline, f"waited for {what}\n{Path('log').read_text()}"
        time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
    return value


def test_worker_can_execute_every_statement(logins: dict[str, str]) -> None:
    """Nothing that workers and stewards say to the database is refused; the survey of `fastq status` neither."""
    assert [name for name in names() if refused(logins["worker"], planned(name))] == []


def test_fleet_runs_as_worker(db: Db, logins: dict[str, str]) -> None:
    """Success, retry and failure, a job enqueued by a job, a delay, a handler's transaction, and a killed process."""
    for task, count in (("fine", 200), ("bad", 3), ("later", 5), ("once", 5), ("deadly", 1)):
        payloads = json.dumps([{"n": n} for n in range(count)])
        db.execute("select fastq.enqueue_many(%s, %s::json)", [f"jobs.{task}", payloads])
    env = {**os.environ, "FASTQ_DSN": logins["worker"]}
    with Path("log").open("w") as log:
        child = subprocess.Popen([sys.executable, "-m", "fastq", "worker", "jobs:app", "-p", "2"], stderr=log, env=env)
    try:
        until("the jobs to end", lambda: states(db) == {"failed": 4})
        users = db.execute(
            "select distinct usename from pg_stat_activity"
            " where application_name like 'fastq %' and datname = current_database()"
        )
        assert [row[0] for row in users] == [conninfo.conninfo_to_dict(logins["worker"])["user"]]
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_S) == 0
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGQUIT)
            child.wait(PATIENCE_S)
    text = Path("log").read_text()
    assert "permission denied" not in text
    assert "database trouble" not in text
    assert db.execute("select count(*) from fastq.worker").fetchone() == (0,)


async def test_worker_turns_the_ring(db: Db, logins: dict[str, str]) -> None:
    """It truncates an emptied segment, which is not the head, and moves the head on."""
    db.execute("insert into fastq.ready_2 (task) values ('t')")
    db.execute("delete from fastq.ready_2")
    db.execute("insert into fastq.ready_0 (task) values ('t')")
    async with await psycopg.AsyncConnection.connect(logins["worker"], autocommit=True) as conn:
        assert await rotate.truncatable(conn) == [Emptied("ready_2", 2)]
        assert await rotate.truncate(conn, Emptied("ready_2", 2))
        assert await rotate.advance(conn, shard=0, head_bytes=1) == 1
    assert db.execute("select pg_relation_size('fastq.ready_2')").fetchone() == (0,)


def test_worker_cannot_change_the_schema(logins: dict[str, str]) -> None:
    """What decides how fastq works belongs to the owner."""
    schema = [
        "create table fastq.mine (n int)",
        "alter table fastq.lease add column mine int",
        "drop view fastq.job",
        "truncate fastq.lease",
        "insert into fastq.migration (version, name, checksum) values (9, 'x', 'x')",
        "update fastq.setting set value = '9'",
    ]
    assert [sql for sql in schema if not refused(logins["worker"], sql)] == []


def test_migrate_needs_the_owner_only_when_there_is_something_to_do(db: Db, logins: dict[str, str]) -> None:
    """With nothing to apply any role is told so; with something to apply the sentence says who has to do it."""
    done = command(logins["worker"], "migrate")
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stderr
    assert command(logins["producer"], "migrate", "--check").returncode == 0
    done = command(logins["worker"], "migrate", "--shards", "2")
    assert (done.returncode, "run `fastq migrate` as its owner" in done.stderr) == (4, True), done.stderr
    db.execute("delete from fastq.migration")
    done = command(logins["worker"], "migrate")
    assert (done.returncode, "run `fastq migrate` as its owner" in done.stderr) == (4, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [["worker", "jobs:app"], ["enqueue", "jobs:app", "fine", "--args", '{"n": 1}'], ["status"], ["migrate"]],
    ids=lambda args: args[0],
)
def test_a_role_without_grants_is_told_so(logins: dict[str, str], args: list[str]) -> None:
    """One sentence and exit 4, no traceback."""
    done = command(logins["nobody"], *args)
    assert done.returncode == 4, done.stderr
    assert "permission denied for schema fastq" in done.stderr
    assert "Traceback" not in done.stderr


def test_monitor_reads_and_writes_nothing(db: Db, logins: dict[str, str]) -> None:
    """`fastq status` and the view work; an enqueue does not."""
    db.execute("select fastq.enqueue('jobs.fine')")
    shown = command(logins["monitor"], "status", "--json")
    assert json.loads(shown.stdout)["queues"][0]["ready"] == 1
    with as_role(logins["monitor"]) as conn:
        assert conn.execute("select task from fastq.job").fetchall() == [("jobs.fine",)]
        for sql in ("select fastq.enqueue('jobs.fine')", "delete from fastq.ready"):
            with pytest.raises(InsufficientPrivilege):
                conn.execute(sql.encode())


def test_the_dbas_script_builds_what_the_roles_need(empty_dsn: str) -> None:
    """`fastq migrate --sql` run by hand passes the check, and the grants apply to it."""
    done = command(empty_dsn, "migrate", "--sql")
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(done.stdout.encode())
        migrator.check(conn)
        conn.execute("begin")
        conn.execute(re.sub(r"fastq_(worker|producer|monitor)\b", rf"t{uuid4().hex[:8]}_\1", script()).encode())
        conn.execute("rollback")


def test_a_role_that_may_create_nothing_but_in_its_schema(empty_dsn: str) -> None:
    """The DBA has made the schema for it; the role migrates, twice."""
    role = f"t{uuid4().hex[:8]}"
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(f"create role {role} login".encode())
        conn.execute(f"create schema fastq authorization {role}".encode())
        assert conn.execute("select has_database_privilege(%s, current_database(), 'create')", [role]).fetchone() == (
            False,
        )
        try:
            own = conninfo.make_conninfo(empty_dsn, user=role)
            for says in ("the schema is at", "nothing to do"):
                assert says in command(own, "migrate").stdout
        finally:
            conn.execute("drop schema fastq cascade")
            conn.execute(f"drop role {role}".encode())
