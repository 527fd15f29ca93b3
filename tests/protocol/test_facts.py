"""What doctor sees of a real database, and that looking costs no scan of a table of jobs."""

from __future__ import annotations

import psycopg
import pytest

from fastq.insights import facts, search
from fastq.insights.doctor import diagnose
from fastq.postgres import database

pytestmark = pytest.mark.protocol


def codes(dsn: str) -> set[str]:
    """Return the codes of what is wrong, but for what this server was built without."""
    with database.connect(dsn) as conn:
        return {found.code for found in diagnose(facts.look(conn))} - {"F111", "F114", "F120"}


def test_an_empty_database_is_well(dsn: str) -> None:
    """Nothing waits, nobody has to run. (The tests' servers do not sync.)"""
    assert codes(dsn) == set()


def test_who_holds_the_horizon_is_named(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with an old snapshot, its role and its query."""
    monkeypatch.setattr(facts, "OLD_S", 0.0)
    with psycopg.connect(dsn, application_name="forgotten") as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select count(*) from fastq.queue")
        with database.connect(dsn) as conn:
            found = [each for each in facts.look(conn).holders if each.application == "forgotten"]
    assert [(each.kind, each.query) for each in found] == [("session", "select count(*) from fastq.queue")]


def test_settings_of_the_database(dsn: str, shared: str) -> None:
    """A timeout that somebody has given to it, autovacuum that is off, a queue that never opens, jobs and no worker."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"alter database {name} set lock_timeout = '7s'".encode())
        conn.execute("alter table fastq.scheduled set (autovacuum_enabled = off)")
        conn.execute("insert into fastq.queue (name, max_running) values ('q', 0)")
        conn.execute("insert into fastq.ready_0 (task) values ('t')")
    try:
        assert codes(dsn) == {"F121", "F130", "F140", "F152"}
    finally:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"alter database {name} reset all".encode())
            conn.execute("alter table fastq.scheduled reset (autovacuum_enabled)")


def test_search_by_arguments_and_group(dsn: str) -> None:
    """What the database cannot look for is looked at here, and it says where it stopped."""
    with database.connect(dsn) as conn:
        conn.execute(
            "insert into fastq.ready_0 (task, group_key, payload)"
            " select 't', 'g' || n % 3, json_build_object('user_id', n) from generate_series(1, 30) n"
        )
        (job,) = search.run(conn, search.parse("args.user_id:7")).jobs
        assert job.args == {"user_id": 7}
        found = search.run(conn, search.parse("group:g1 state:ready"), limit=5)
        assert (len(found.jobs), found.cut) == (5, True)
        assert search.run(conn, search.parse(str(job.id))).jobs == [job]
        assert search.run(conn, search.parse("queue:other")).jobs == []
