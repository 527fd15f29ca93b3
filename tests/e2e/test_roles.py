"""The roles of docs/roles.md, made from that page in a real database, under names that no other test has."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo, errors
from psycopg.errors import InsufficientPrivilege

import fastq
from fastq.protocol import rotate
from fastq.protocol.rotate import Emptied
from fastq.schema import migrator
from fastq.sql import names, statement

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "roles.md"
PATIENCE_S = 30.0
Db = psycopg.Connection[Any]

JOBS = """
import os, signal
import fastq

app = fastq.App()

@app.task
async def fine(n: int) -> None: ...

@app.task(retries=1, backoff=0.0)
async def bad(n: int) -> None:
    raise ValueError(n)

@app.task
async def later(ctx: fastq.Context, n: int) -> None:
    await ctx.enqueue(fine.options(delay=0.01).job(n=n))

@app.task
async def once(ctx: fastq.Context, n: int) -> None:
    async with ctx.transaction():
        pass

@app.task
async def deadly(n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def script() -> str:
    """Return the SQL of docs/roles.md."""
    found = re.search(r"<!-- roles -->\n\s*```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def logins(db: Db, dsn: str) -> Iterator[dict[str, str]]:
    """Make the page's roles and a login of each, twice as the page allows; give the logins' DSNs; drop all again."""
    mark = uuid4().hex[:8]
    roles = {name: f"t{mark}_{name}" for name in ("worker", "producer", "monitor")}
    text = re.sub(r"fastq_(worker|producer|monitor)\b", lambda m: roles[m[1]], script())
    users = {name: f"{role}_login" for name, role in roles.items()} | {"nobody": f"t{mark}_nobody"}
    try:
        for _ in range(2):
            db.execute(text.encode())
        for name, user in users.items():
            member = f"in role {roles[name]}" if name in roles else ""
            db.execute(f"create role {user} login password '{mark}' {member}".encode())
        yield {name: conninfo.make_conninfo(dsn, user=user, password=mark) for name, user in users.items()}
    finally:
        for role in (*users.values(), *roles.values()):
            if db.execute("select from pg_roles where rolname = %s", [role]).fetchall():
                db.execute(f"drop owned by {role}".encode())
                db.execute(f"drop role {role}".encode())


@contextmanager
def as_role(dsn: str) -> Iterator[Db]:
    """Give a connection of a role."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def command(dsn: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `fastq …` to its end as a role."""
    env = {**os.environ, "FASTQ_DSN": dsn}
    return subprocess.run(
        [sys.executable, "-m", "fastq", *args], capture_output=True, text=True, timeout=60, env=env, check=False
    )


def states(db: Db) -> dict[str, int]:
    """Return how many jobs stand in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


def until(what: str, check: Callable[[], Any]) -> Any:
    """Return the first truthy value of `check()`."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := check()):
        assert time.monotonic() < deadline, f"waited for {what}\n{Path('log').read_text()}"
        time.sleep(0.005)  # the pause of a poll with a deadline; nothing depends on its length
    return value


STEERING = ["retry(1)", "cancel(2)", "delete(1)", "purge('q')", "pause('q')", "resume('q')"]
NAMES_TABLE = re.compile(r"(?:from|join|into|update|using|table|truncate) fastq\.\w+\b(?!\()|nextval")


# -- producer


def test_producer_enqueues_in_each_way(db: Db, logins: dict[str, str]) -> None:
    """Single, gathered, delayed, streamed, in a transaction, synchronous, by SQL and by the command line."""
    app = fastq.App(logins["producer"])

    @app.task(name="jobs.fine")
    async def fine(n: int) -> None: ...

    soon = datetime.now(UTC) + timedelta(hours=1)
    special = fine.options(group_key="g", headers={"trace": "x"})

    async def enqueue() -> None:
        async with app:
            await asyncio.gather(*(fine.enqueue(n=n) for n in range(20)))
            await special.enqueue(n=1)
            await fine.options(delay=60).enqueue(n=1)
            assert not (await fine.options(unique_key="a").enqueue(n=1)).duplicate
            assert (await fine.options(unique_key="a", delay=60).enqueue(n=1)).duplicate
            mixed = [fine.job(n=1), special.job(n=2), fine.options(run_at=soon).job(n=3)]
            assert len(await app.enqueue_many(mixed * 700)) == 2100
            async with await psycopg.AsyncConnection.connect(logins["producer"]) as conn:
                await app.enqueue(fine.job(n=1), conn=conn)
                await app.enqueue_many(mixed, conn=conn)
                await conn.commit()

    asyncio.run(enqueue())
    with app:
        fine.enqueue_sync(n=1)
        app.enqueue_many_sync(mixed := [fine.job(n=1), special.job(n=2), fine.options(delay=9).job(n=3)])
        assert len(mixed) == 3
    with as_role(logins["producer"]) as conn:
        conn.execute("""select fastq.enqueue('jobs.fine', '{"n": 1}', headers => '{"a": 1}', group_key => 'g')""")
        conn.execute("""select fastq.enqueue('jobs.fine', '{"n": 1}', delay => '1 hour')""")
        conn.execute("""select fastq.enqueue('jobs.fine', '{"n": 1}', unique_key => 'b', unique_until => '1 hour')""")
        conn.execute("""select fastq.enqueue_many('jobs.fine', '[{"n": 1}, {"n": 2}]', unique_keys => '{b,c}')""")
        conn.execute("""select fastq.enqueue_many('jobs.fine', '[{"n": 1}, {"n": 2}]')""")
        conn.execute("""select fastq.abandon(fastq.reserve('jobs.fine', '{"n": 1}', unique_key => 'd'))""")
        conn.execute("""select fastq.commit(fastq.reserve('jobs.fine', '{"n":1}', delay => '1h', unique_key => 'd'))""")
    Path("lines").write_text('{"n": 1}\n' * 5)
    for args in (["--args", '{"n": 1}'], ["--jsonl", "lines"], ["--args", '{"n": 1}', "--delay", "1h"]):
        done = command(logins["producer"], "enqueue", "jobs:app", "fine", *args)
        assert done.returncode == 0, done.stderr
    assert states(db) == {"ready": 22 + 1400 + 3 + 3 + 2 + 3 + 6, "scheduled": 1 + 700 + 1 + 1 + 1 + 1 + 1}


def test_producer_enqueues_ordered_jobs(db: Db, logins: dict[str, str]) -> None:
    """From Python, in a stream and by SQL: into lines that it cannot look at; a worker may retry them."""
    app = fastq.App(logins["producer"])

    @app.task(name="jobs.fine", ordered=True)
    async def fine(n: int) -> None: ...

    with app:
        fine.options(group_key="g").enqueue_sync(n=1)
        app.enqueue_many_sync(fine.options(group_key=f"g{n % 2}").job(n=n) for n in range(4))
    with as_role(logins["producer"]) as conn:
        conn.execute("""select fastq.enqueue('jobs.fine', '{"n": 1}', group_key => 'g', ordered => true)""")
    assert states(db) == {"ready": 3, "waiting": 3}
    with as_role(logins["worker"]) as conn:
        conn.execute("select fastq.cancel_jobs()")
        conn.execute("select fastq.retry_jobs()")
    assert states(db) == {"ready": 3, "waiting": 3}


LIES = [
    "insert into fastq.ready_0 (task, attempt) values ('jobs.fine', 32767)",
    "insert into fastq.ready_0 (task, id) values ('jobs.fine', 1), ('jobs.fine', 1)",
    """insert into fastq.ready_0 (task, meta) values ('jobs.fine', '[1]')""",
    """insert into fastq.ready_0 (task, meta) values ('jobs.fine', '{"crashes": "x"}')""",
    """insert into fastq.ready_0 (task, meta) values ('jobs.fine', '{"errors": 5}')""",
    """insert into fastq.ready_0 (task, meta) values ('jobs.fine', '{"checkpoint": {}}')""",
    """insert into fastq.ready_0 (task, meta)
       values ('jobs.fine', ('{"headers":' || repeat('[', 300) || repeat(']', 300) || '}')::json)""",
    "insert into fastq.ready_0 (task, enqueued_ms) values ('jobs.fine', 9223372036854775807)",
    "insert into fastq.ready_0 (task, enqueued_ms) values ('jobs.fine', -1)",
    "insert into fastq.ready_0 (task, priority) values ('jobs.fine', 10)",
    "copy fastq.ready_0 (task, attempt) from stdin",  # refused before it begins
    "insert into fastq.scheduled (shard, run_at, task, attempt) values (0, now(), 'jobs.fine', 32767)",
    "insert into fastq.scheduled (shard, run_at, task, reason) values (0, now(), 'jobs.fine', 'reserved')",
    "insert into fastq.scheduled (shard, run_at, task, meta) values (0, now(), 'jobs.fine', '{}')",
    "insert into fastq.scheduled (shard, run_at, task) values (0, 'infinity', 'jobs.fine')",
    "insert into fastq.scheduled (shard, run_at, task, enqueued_ms) values (0, now(), 'jobs.fine', -1)",
    "insert into fastq.scheduled (shard, id, run_at, task) select 0, 1, now(), 'jobs.fine' from generate_series(1, 2)",
    "insert into fastq.line (shard, pos, queue, group_key, task) values (0, 1, 'q', 'g', 'jobs.fine')",
    "select fastq.enqueue('jobs.fine', headers => ('{\"a\":' || repeat('[', 300) || repeat(']', 300) || '}')::json)",
    "select fastq.enqueue('jobs.fine', headers => '[1]')",
    "select fastq.enqueue('jobs.fine', run_at => 'infinity')",
    "select fastq.enqueue('jobs.fine', delay => '20000 years')",
    "select fastq.put_lines(0, E'\\t\\t\\t\\t\\tq\\t4\\tt\\t\\t{\"errors\":5}\\t{}')",
    "select fastq.put_lines(0, E'\\t\\t\\t\\tinfinity\\tq\\t4\\tt\\t\\t\\t{}')",
    "select fastq.put_lines(0, E'\\t\\t\\tNaN\\t\\tq\\t4\\tt\\t\\t\\t{}')",
    "select fastq.reserve_job(0, 60, null, 'infinity', 'q', 4::int2, '', 't', '{}', null, null, 'finished')",
    "select fastq.reserve_job(0, 60, 'NaN', null, 'q', 4::int2, '', 't', '{}', null, null, 'finished')",
    "select fastq.reserve_job(0, 60, null, null, 'q', 4::int2, '', 't', '{}', '[1]', null, 'finished')",
    "select fastq.hold_keys(0, '{1}', '{k}', '{finished}', '{q}', '{4}', '{g}')",
]


REFUSALS = (
    InsufficientPrivilege,
    errors.CheckViolation,
    errors.UniqueViolation,
    errors.InvalidParameterValue,
    errors.DatetimeFieldOverflow,
)


@pytest.mark.parametrize("lie", LIES)
def test_a_producer_that_lies_is_refused(db: Db, logins: dict[str, str], lie: str) -> None:
    """What workers or readers could stumble over does not get in, by rows nor by calls."""
    with as_role(logins["producer"]) as conn, pytest.raises(REFUSALS):
        conn.execute(lie.encode())
    assert states(db) == {}


def test_a_grant_of_an_earlier_page_is_taken_back(db: Db, logins: dict[str, str]) -> None:
    """Producers who were once allowed whole rows are not any more when the block has been run again."""
    role = conninfo.conninfo_to_dict(logins["producer"])["user"].removesuffix("_login")
    db.execute(f"grant insert on fastq.ready, fastq.ready_0, fastq.scheduled, fastq.line to {role}".encode())
    assert not refused(logins["producer"], LIES[0])
    mark = role.removesuffix("producer")
    db.execute(re.sub(r"fastq_(worker|producer|monitor)\b", rf"{mark}\1", script()).encode())
    assert refused(logins["producer"], LIES[0])


FORBIDDEN = [
    "select payload from fastq.line",
    "delete from fastq.line",
    "select job from fastq.head",
    "insert into fastq.head (shard, queue, group_key) values (0, 'q', 'g')",
    "select fastq.bring_up(0, 'q', 'g')",
    "select payload from fastq.ready",
    "select task from fastq.ready_0",
    "select pos from fastq.ready_0",
    "select payload from fastq.scheduled",
    "select payload from fastq.finished",
    "select batch from fastq.lease",
    "select id from fastq.job",
    "select counters from fastq.worker",
    "select key from fastq.unique_key",
    "insert into fastq.unique_key (shard, key, job) values (0, 'k', 1)",
    "update fastq.unique_key set expires_at = now()",
    "delete from fastq.unique_key",
    "delete from fastq.ready",
    "delete from fastq.ready_0",
    "delete from fastq.scheduled where id = 1",
    "update fastq.ready set priority = 0",
    "update fastq.scheduled set run_at = now()",
    "update fastq.setting set value = '9'",
    "update fastq.ring set head = 1",
    "truncate fastq.ready_0",
    "lock table fastq.ready_0 in access exclusive mode",
    "insert into fastq.lease (shard, id, worker, queue, priority, group_key, batch) values (0, 1, 1, 'q', 4, '', '')",
    "insert into fastq.queue (name, paused) values ('default', true)",
    "insert into fastq.migration (version, name, checksum) values (9, 'x', 'x')",
    "copy fastq.ready_0 to stdout",
    "create table fastq.mine (n int)",
    "drop table fastq.ready_3",
    "alter function fastq.enqueue rename to other",
]


def test_producer_can_neither_read_nor_change_jobs(logins: dict[str, str]) -> None:
    """The server refuses everything that is not an enqueue."""
    assert [sql for sql in FORBIDDEN if not refused(logins["producer"], sql)] == []


def refused(dsn: str, sql: str) -> bool:
    """Tell whether the server refuses a statement to a role for lack of a right."""
    with as_role(dsn) as conn:
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(sql.encode())
        except InsufficientPrivilege:
            return True
    return False


def test_producer_can_execute_the_producers_statements_only(logins: dict[str, str]) -> None:
    """Of all statements that name a table of fastq, the server lets a producer plan those that enqueue only."""
    allowed = {name for name in names() if NAMES_TABLE.search(planned(name))}
    allowed -= {name for name in allowed if refused(logins["producer"], planned(name))}
    assert allowed == {"insert_jobs", "insert_packets", "take_positions"}


@pytest.mark.parametrize("call", STEERING)
def test_steering_is_the_workers(db: Db, logins: dict[str, str], call: str) -> None:
    """The functions that look at jobs and change them run with the caller's rights."""
    db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " values (0, 1, 'failed', 4, 1, 0, 'q', '', 't')"
    )
    db.execute("insert into fastq.scheduled (shard, id, run_at, task) values (0, 2, now() + interval '1 hour', 't')")
    assert refused(logins["producer"], f"select fastq.{call}")
    assert refused(logins["monitor"], f"select fastq.{call}")
    assert not refused(logins["worker"], f"select fastq.{call}")


# -- worker


def test_worker_can_execute_every_statement(logins: dict[str, str]) -> None:
    """Nothing that workers and stewards say to the database is refused; the survey of `fastq status` neither."""
    assert [name for name in names() if refused(logins["worker"], planned(name))] == []


def planned(name: str) -> str:
    """Return a statement that has the server check its rights without running it; all its parameters are null."""
    text = re.sub(r"%\((\w+)\)s", "null", statement(name, 0, table="ready_0")).replace("%%", "%")
    return text if re.match(r"lock|truncate|select nextval", text) else f"explain {text}"


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


# -- migrating and looking


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
