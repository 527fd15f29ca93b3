"""The migrator against real databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import catalog
import psycopg
import pytest
from click.testing import CliRunner

import fastq
from fastq.cli.main import cli
from fastq.errors import SchemaError, UsageError
from fastq.schema import files, migrator
from fastq.schema.files import Definition, Migration

pytestmark = pytest.mark.protocol

FRESH_STEPS = len(files.migrations()) + 1


Db = psycopg.Connection[Any]


def test_migrate_twice_applies_once(empty_dsn: str) -> None:
    """A second run finds nothing to do."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        assert migrator.migrate(conn) == FRESH_STEPS
        assert migrator.migrate(conn) == 0
        migrator.check_all(conn)


def test_two_hosts_migrate_at_once(empty_dsn: str) -> None:
    """Of simultaneous runs each step is done by exactly one."""

    def run(_: int) -> int:
        with psycopg.connect(empty_dsn, autocommit=True) as conn:
            return migrator.migrate(conn)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == FRESH_STEPS


def test_missing_schema_says_what_to_type(empty_dsn: str) -> None:
    """Without a schema the error names the command."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        for check in (migrator.check, migrator.check_all):
            with pytest.raises(SchemaError, match="run `fastq migrate`"):
                check(conn)


def test_newer_schema_is_refused(db: Db) -> None:
    """A database that a newer fastq has migrated is neither used nor touched."""
    db.execute("insert into fastq.migration (version, name, checksum) values (999, 'later', 'x')")
    for refuse in (migrator.check, migrator.migrate, migrator.script):
        with pytest.raises(SchemaError, match="upgrade fastq"):
            refuse(db)


def test_a_newer_schema_that_suits_is_used(dsn: str, db: Db) -> None:
    """Workers, producers and probes start; one that wants more than we know is refused by all, before they begin."""
    mine = files.newest()
    later = "insert into fastq.migration (version, name, checksum, suits) values (%s, 'later', 'x', %s)"
    db.execute(later, [mine + 1, mine])
    db.execute(later, [mine + 2, mine - 3])
    app = fastq.App(dsn)

    @app.task(name="t")
    def t(n: int) -> None: ...

    migrator.check(db)
    with app:
        t.enqueue_sync(n=1)
    db.execute(later, [mine + 3, mine + 1])
    with pytest.raises(SchemaError, match="upgrade fastq"):
        migrator.check(db)
    with pytest.raises(SchemaError, match="upgrade fastq"), app:
        pass
    assert db.execute("select count(*) from fastq.job").fetchall() == [(1,)]


def test_migrating_a_newer_schema_that_suits_changes_nothing(dsn: str, db: Db) -> None:
    """So who migrates before each start can go back. Its functions are not ours to judge, shards not ours to add."""
    mine = files.newest()
    later = "insert into fastq.migration (version, name, checksum, suits) values (%s, 'later', 'x', %s)"
    db.execute(later, [mine + 1, mine])
    db.execute("update fastq.definition set checksum = 'later' where name = 'functions/lines'")
    assert migrator.migrate(db) == 0
    migrator.check_all(db)
    assert "create or replace" not in migrator.script(db)
    for command in (["migrate"], ["migrate", "--check"]):
        done = CliRunner().invoke(cli, [*command, "--dsn", dsn])
        assert (done.exit_code, done.output) == (
            0,
            f"the schema is at {mine + 1}, of a newer fastq, and suits this one: nothing to do\n",
        )
    assert db.execute("select checksum from fastq.definition where name = 'functions/lines'").fetchone() == ("later",)
    shards = migrator.shards(db)
    with pytest.raises(SchemaError, match="upgrade fastq"):
        migrator.migrate(db, shards=shards + 1)
    assert migrator.shards(db) == shards


def test_what_a_migration_suits_is_written_down(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text says it."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        migrator.migrate(conn)
        newer = Migration(version=files.newest() + 1, name="more", sql="-- More.\n-- Suits: 17\nselect 1;")
        monkeypatch.setattr("fastq.schema.plan.migrations", lambda: (*files.migrations(), newer))
        monkeypatch.setattr("fastq.schema.plan.newest", lambda: newer.version)
        migrator.migrate(conn)
        found = conn.execute("select version, suits from fastq.migration order by version desc limit 2").fetchall()
        assert found == [(newer.version, 17), (newer.version - 1, 18)]


def test_foreign_migration_is_refused(db: Db) -> None:
    """A migration that was applied with other contents is not ours to build on."""
    db.execute("update fastq.migration set checksum = 'other' where version = 8")
    with pytest.raises(SchemaError, match="different build"):
        migrator.migrate(db)


def test_script_builds_the_same_schema(empty_dsn: str, db: Db) -> None:
    """What a DBA runs by hand passes the check and leaves the catalog as `fastq migrate` does."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(migrator.script().encode())
        migrator.check_all(conn)
        assert catalog.differ(conn, db) == {}


def test_no_two_migrations_have_a_number() -> None:
    """Whoever lands second takes the next one."""
    numbers = [m.version for m in files.migrations()]
    assert numbers == list(range(8, 8 + len(numbers)))


def test_each_function_and_view_is_made_by_one_file(db: Db) -> None:
    """No file is without one, none is made twice, and the schema has no others but those that its constraints call."""
    made = [thing for d in files.definitions() for thing in d.makes]
    assert all(d.makes for d in files.definitions())
    assert len(made) == len(set(made))
    found = db.execute(
        "select 'function ' || proname from pg_proc where pronamespace = 'fastq'::regnamespace"
        " union select 'view ' || viewname from pg_views where schemaname = 'fastq'"
    ).fetchall()
    assert {row[0] for row in found} == {*made, "function is_time", "function is_new_meta"}


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> list[Definition]:
    """Give the files of functions and views, which the test may change."""
    found = list(files.definitions())
    for module in ("fastq.schema.plan", "fastq.schema.files"):
        monkeypatch.setattr(f"{module}.definitions", lambda: tuple(found))
    return found


def test_a_changed_function_is_created_again_and_keeps_its_grants(empty_dsn: str, changed: list[Definition]) -> None:
    """Nothing but its file is run; whoever was allowed to call it still is."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        migrator.migrate(conn)
        conn.execute("grant execute on function fastq.begin_lines(int4, text[], text[]) to pg_monitor")
        at = next(n for n, d in enumerate(changed) if d.name == "functions/lines")
        changed[at] = Definition(name=changed[at].name, sql=changed[at].sql + "\n-- a word more")
        migrator.check(conn)
        with pytest.raises(
            SchemaError, match=r"other functions than this code \(functions/lines\): run `fastq migrate`"
        ):
            migrator.check_all(conn)
        told: list[str] = []
        assert migrator.migrate(conn, report=told.append) == 1
        assert told == ["created functions/lines"]
        migrator.check_all(conn)
        may = "select has_function_privilege('pg_monitor', 'fastq.begin_lines(int4, text[], text[])', 'execute')"
        assert conn.execute(may).fetchone() == (True,)


def test_a_function_that_no_file_has_is_dropped(empty_dsn: str, changed: list[Definition]) -> None:
    """All of its name, whether its file is gone or only lost it; a stranger's function stays."""
    first = "create or replace function fastq.first(n int) returns int language sql as 'select n';"
    other = "create or replace function fastq.first(t text) returns text language sql as 'select t';"
    second = "create or replace view fastq.second as select fastq.first(1) as n;"
    third = "create or replace function fastq.third() returns int language sql as 'select 3';"
    names = "select proname from pg_proc where pronamespace = 'fastq'::regnamespace and proname = any(%s) order by 1"
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create schema fastq; create function fastq.ours() returns int language sql as 'select 1'")
        changed += [
            Definition(name="functions/new", sql=f"{first}\n{other}\n{third}"),
            Definition(name="views/new", sql=second),
        ]
        migrator.migrate(conn)
        changed[-2:] = [Definition(name="functions/new", sql=third)]
        assert migrator.migrate(conn) == 1
        assert conn.execute(names, [["first", "third", "ours"]]).fetchall() == [("ours",), ("third",)]
        assert conn.execute("select to_regclass('fastq.second')").fetchone() == (None,)
        del changed[-1]
        assert migrator.migrate(conn) == 1
        assert conn.execute(names, [["first", "third", "ours"]]).fetchall() == [("ours",)]
        migrator.check_all(conn)


def test_a_script_for_a_database_has_only_what_it_lacks(empty_dsn: str, changed: list[Definition]) -> None:
    """A changed file, and nothing of the others; when nothing is missing the script changes nothing."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        migrator.migrate(conn)
        changed[0] = Definition(name=changed[0].name, sql=changed[0].sql + "\n-- a word more")
        text = migrator.script(conn)
        assert f"-- {changed[0].name}\n" in text
        assert not any(f"-- {d.name}\n" in text for d in changed[1:])
        conn.execute(text.encode())
        migrator.check_all(conn)
        assert "create or replace" not in migrator.script(conn)
        conn.execute(migrator.script(conn).encode())
        migrator.check_all(conn)


def test_a_migration_that_fails_leaves_everything_as_it_was(
    empty_dsn: str, changed: list[Definition], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and functions change in one transaction."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        migrator.migrate(conn)
        before = catalog.read(conn)
        newer = Migration(version=files.newest() + 1, name="more", sql="create table fastq.more (n int);")
        monkeypatch.setattr("fastq.schema.plan.migrations", lambda: (*files.migrations(), newer))
        monkeypatch.setattr("fastq.schema.plan.newest", lambda: newer.version)
        changed.append(Definition(name="functions/wrong", sql="create or replace function fastq.wrong() nonsense;"))
        with pytest.raises(SchemaError, match="PostgreSQL refused"):
            migrator.migrate(conn)
        assert catalog.read(conn) == before
        migrator.check(conn)


def test_shards_only_grow(db: Db) -> None:
    """More shards get their ring rows; fewer are refused."""
    migrator.set_shards(db, 3)
    assert migrator.shards(db) == 3
    assert db.execute("select array_agg(shard order by shard) from fastq.ring").fetchone() == ([0, 1, 2],)
    with pytest.raises(UsageError, match="only grow"):
        migrator.set_shards(db, 2)
