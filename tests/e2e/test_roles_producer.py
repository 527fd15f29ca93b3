"""What the producer role of docs/roles.md may do, and what it may not."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, errors
from psycopg.errors import InsufficientPrivilege
from roles import JOBS, Db, as_role, command, planned, refused, script, states

import fastq
from fastq.sql import names

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


STEERING = ["retry(1)", "cancel(2)", "delete(1)", "purge('q')", "pause('q')", "resume('q')"]


NAMES_TABLE = re.compile(r"(?:from|join|into|update|using|table|truncate) fastq\.\w+\b(?!\()|nextval")


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


def test_producer_can_execute_the_producers_statements_only(logins: dict[str, str]) -> None:
    """Of all statements that name a table of fastq, the server lets a producer plan those that enqueue only.

    And two that read nothing but the ring and the settings, as they do.
    """
    allowed = {name for name in names() if NAMES_TABLE.search(planned(name))}
    allowed -= {name for name in allowed if refused(logins["producer"], planned(name))}
    assert allowed == {"insert_jobs", "insert_packets", "take_positions", "list_sweepable_segments", "read_layout"}


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
