"""The migrator against real databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fastq.errors import SchemaError, UsageError
from fastq.schema import migrator

pytestmark = pytest.mark.protocol


def test_migrate_twice_applies_once(empty_dsn: str) -> None:
    """A second run finds nothing to do."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        assert migrator.migrate(conn) == len(migrator.migrations())
        assert migrator.migrate(conn) == 0
        migrator.check(conn)


def test_two_hosts_migrate_at_once(empty_dsn: str) -> None:
    """Of two simultaneous runs each migration is applied by exactly one."""

    def run(_: int) -> int:
        with psycopg.connect(empty_dsn, autocommit=True) as conn:
            return migrator.migrate(conn)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == len(migrator.migrations())


def test_missing_schema_says_what_to_type(empty_dsn: str) -> None:
    """Without a schema the error names the command."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn, pytest.raises(SchemaError, match="run `fastq migrate`"):
        migrator.check(conn)


def test_newer_schema_is_refused(db: psycopg.Connection[object]) -> None:
    """A database that a newer fastq has migrated is neither used nor touched."""
    db.execute("insert into fastq.migration (version, name, checksum) values (999, 'later', 'x')")
    with pytest.raises(SchemaError, match="upgrade fastq"):
        migrator.check(db)
    with pytest.raises(SchemaError, match="upgrade fastq"):
        migrator.migrate(db)


def test_foreign_migration_is_refused(db: psycopg.Connection[object]) -> None:
    """A migration that was applied with other contents is not ours to build on."""
    db.execute("update fastq.migration set checksum = 'other' where version = 1")
    with pytest.raises(SchemaError, match="different build"):
        migrator.migrate(db)


def test_script_builds_the_same_schema(empty_dsn: str, db: psycopg.Connection[object]) -> None:
    """What a DBA runs by hand passes the check and has the same tables."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(migrator.script().encode())
        migrator.check(conn)
        columns = (
            "select table_name, column_name, data_type from information_schema.columns"
            " where table_schema = 'fastq' order by 1, 2"
        )
        assert conn.execute(columns).fetchall() == db.execute(columns).fetchall()


def test_script_brings_an_older_database_up_to_date(empty_dsn: str) -> None:
    """With what is there left out, the script goes on from there; when nothing is missing it changes nothing."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        assert not migrator.applied(conn)
        newer = [m.version for m in migrator.migrations() if m.version > 1]
        conn.execute(migrator.script(without=newer).encode())
        assert set(migrator.applied(conn)) == {1}
        for _ in "12":
            conn.execute(migrator.script(without=migrator.applied(conn)).encode())
            migrator.check(conn)


def test_leases_move_into_segments_with_their_rights(empty_dsn: str) -> None:
    """What was leased stays leased; a role that could use leases, and truncate segments, can in all of them."""
    lease = "insert into fastq.lease (slot, id, worker, queue, priority, group_key, batch)"
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(migrator.script(without=[m.version for m in migrator.migrations() if m.version >= 7]).encode())
        conn.execute(f"{lease} values (0, 7, 1, 'q', 4, '', '[[1,\"t\",0,1,{{}}]]')".encode())
        conn.execute('drop role if exists "Leased to"')
        conn.execute('create role "Leased to"')
        try:
            conn.execute('grant select, insert, update, delete on fastq.lease to "Leased to"')
            conn.execute('grant truncate on fastq.ready_0 to "Leased to"')
            conn.execute('grant select on fastq.job to "Leased to"')
            assert migrator.migrate(conn) == len(migrator.migrations()) - 6
            assert conn.execute("select id, state, worker from fastq.job").fetchall() == [(1, "running", 1)]
            conn.execute(f"{lease} values (0, 8, 1, 'q', 4, '', '[]')".encode())  # as workers of before do
            conn.execute(f"{lease.replace('lease ', 'lease_2 ')} values (0, 9, 1, 'q', 4, '', '[]')".encode())
            found = conn.execute("select id, segment from fastq.lease order by id").fetchall()
            assert found == [(7, 0), (8, 0), (9, 2)]
            tables = ["fastq.lease", *(f"fastq.lease_{segment}" for segment in range(4))]
            for table in tables:
                for right in ("select", "insert", "update", "delete"):
                    may = conn.execute("select has_table_privilege('Leased to', %s, %s)", [table, right]).fetchone()
                    assert may == (True,), (table, right)
                may = conn.execute("select has_table_privilege('Leased to', %s, 'truncate')", [table]).fetchone()
                assert may == (table != "fastq.lease",)
        finally:
            conn.execute('drop owned by "Leased to"')
            conn.execute('drop role "Leased to"')


def test_slots_only_grow(db: psycopg.Connection[object]) -> None:
    """More slots get their ring rows; fewer are refused."""
    migrator.set_slots(db, 3)
    assert migrator.slots(db) == 3
    assert db.execute("select array_agg(slot order by slot) from fastq.ring").fetchone() == ([0, 1, 2],)
    with pytest.raises(UsageError, match="only grow"):
        migrator.set_slots(db, 2)
