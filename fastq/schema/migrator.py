"""Applies what a database lacks, forward only and in one transaction; says whether a database fits this code.

Safe to run twice and from two hosts at once: a transaction-level advisory lock lets one through at a time.
Processes compare the number of the newest migration when they start: functions that change without one must suit their
old callers too, and those that do not come with a migration, though it be empty. A migration that says `-- Suits: 17`
lets workers and producers go on, and start, that know schema 17: what they need is taken away by a later one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection

from fastq import sql
from fastq.errors import SchemaError, UsageError
from fastq.schema import plan
from fastq.schema.files import newest
from fastq.schema.plan import State, differing, newer, steps
from fastq.sql.naming import DEFAULT, named, schema

_FOUND = """
select max(m.version), max(coalesce((to_jsonb(m) ->> 'suits')::int, m.version)) filter (where m.version > %(newest)s),
       exists (select 1 from fastq.setting s where s.name = 'citus')
from fastq.migration m
"""
"""The version that a database has, and which one the least suitable of its migrations wants that we do not know; and
whether it is spread over a cluster."""

_BOOKS = "select to_regclass('fastq.migration'), to_regclass('fastq.definition')"
_APPLIED = """
select m.version, m.checksum, coalesce((to_jsonb(m) ->> 'suits')::int, m.version) from fastq.migration m
"""
_DEFINED = "select name, checksum, makes from fastq.definition"
_SHARDS = "select value::text::int from fastq.setting where name = 'shards'"
_NEW_RINGS = """
insert into fastq.ring (shard, head) select generate_series(%s, %s - 1), r.head from fastq.ring r where r.shard = 0
"""
_GRANTED = """
select exists (select from pg_class c cross join lateral aclexplode(c.relacl) a
               where c.relnamespace = 'fastq'::regnamespace and a.grantee <> c.relowner)
"""
_ABSENT = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
_BEGIN = """select pg_advisory_xact_lock(439721620593);  -- "fastq"
set local client_min_messages = warning;
do $$ begin  -- "if not exists" would want the right to create schemas, although there is one
  if to_regnamespace('fastq') is null then
    create schema fastq;
  end if;
end $$;
create table if not exists fastq.migration (
  version    int4 primary key,
  name       text not null,
  checksum   text not null,
  applied_at timestamptz not null default now()
);
alter table fastq.migration add column if not exists suits int4;
-- The files of functions and views, and what they make.
create table if not exists fastq.definition (
  name       text primary key,
  checksum   text not null,
  makes      text[] not null,
  applied_at timestamptz not null default now()
);"""


def script(conn: Connection[Any] | None = None) -> str:
    """Return everything, or what the database of `conn` lacks, as one SQL script for a DBA.

    Raises:
        SchemaError: the database is that of a newer or another fastq.

    """
    wanted = steps(State() if conn is None else _state(conn))
    return named("\n".join(["begin;", _BEGIN, *(step.sql for step in wanted), "commit;", ""]))


def migrate(conn: Connection[Any], *, shards: int | None = None, report: Callable[[str], None] = lambda _: None) -> int:
    """Bring the schema up to date; returns how many steps that took. Writes nothing when nothing is missing.

    Nothing is missing, either, in a database that a newer code has migrated and that suits this one.

    Raises:
        SchemaError: the database is newer than this code, and does not suit it or is to get shards from it; or an
            applied migration is not the one we have; or the server refused: the role may not, or it is read-only.
        UsageError: no schema can have this name, or `shards` is less than it was.

    """
    try:
        _check_name(conn)
        done = _bring_up_to_date(conn) if steps(_state(conn)) else []
        for title in done:
            report(title)
        if shards is not None:
            if (found := ahead(conn)) is not None:
                raise SchemaError(newer(found))
            set_shards(conn, shards)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise SchemaError(
            f"this role may not change the schema ({exc.diag.message_primary}): run `fastq migrate` as its owner"
        ) from None
    except psycopg.Error as exc:
        raise SchemaError(f"PostgreSQL refused the migration: {str(exc).strip()}") from None
    return len(done)


def _check_name(conn: Connection[Any]) -> None:
    """Refuse a name that would have to be quoted in each statement."""
    row = conn.execute("select from pg_get_keywords() where word = %s and catcode in ('R', 'T')", [schema()]).fetchone()
    if row is not None:
        raise UsageError(f"{schema()!r} cannot be the schema: it is a keyword of SQL")


def _bring_up_to_date(conn: Connection[Any]) -> list[str]:
    """Do what is still missing when it is our turn; returns what was done."""
    with conn.transaction():
        conn.execute(named(_BEGIN).encode())
        wanted = steps(_state(conn))
        for step in wanted:
            conn.execute(named(step.sql).encode())
    return [step.title for step in wanted]


def _state(conn: Connection[Any]) -> State:
    """Return what a database has. Needs no more than the right to look."""
    try:
        there = conn.execute(named(_BOOKS)).fetchone()
        versions, definitions = there or (None, None)
        found = conn.execute(named(_APPLIED)).fetchall() if versions else []
        files = conn.execute(named(_DEFINED)).fetchall() if definitions else []
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _no_grants(exc) from None
    return State(
        versions={version: checksum for version, checksum, _ in found},
        suits={version: suits for version, _, suits in found},
        definitions={name: checksum for name, checksum, _ in files},
        made={name: tuple(makes) for name, _, makes in files},
    )


def ahead(conn: Connection[Any]) -> int | None:
    """Return the version of a database that a newer code has migrated; None: we know all its migrations."""
    return plan.ahead(_state(conn))


def has_grants(conn: Connection[Any]) -> bool:
    """Tell whether others than the owner were given rights on the jobs."""
    row = conn.execute(named(_GRANTED)).fetchone()
    return row is not None and bool(row[0])


def set_shards(conn: Connection[Any], shards: int) -> None:
    """Set the number of shards; it can only grow, because jobs may stand in any shard there ever was."""
    if shards < 1:
        raise UsageError(f"shards must be at least 1, not {shards}")
    with conn.transaction():
        row = conn.execute(named(f"{_SHARDS} for update")).fetchone()
        now = 1 if row is None else int(row[0])
        if shards < now:
            raise UsageError(f"this database has {now} shards; their number can only grow")
        conn.execute(named("update fastq.setting set value = to_json(%s::int) where name = 'shards'"), [shards])
        conn.execute(named(_NEW_RINGS), [now, shards])
        conn.execute(named("select pg_notify('fastq', 'shards')"))
    conn.execute(named("select fastq.spread_ties()"))


def shards(conn: Connection[Any]) -> int:
    """Return the number of shards."""
    row = conn.execute(named(_SHARDS)).fetchone()
    return 1 if row is None else int(row[0])


def check(conn: Connection[Any]) -> None:
    """Raise SchemaError unless the schema has the version that this code needs."""
    try:
        row = conn.execute(named(_FOUND), _newest()).fetchone()
    except _ABSENT:
        row = None
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _no_grants(exc) from None
    _judge(*(row or (None, None, False)))


async def check_async(conn: AsyncConnection[Any]) -> None:
    """As `check`, on an asynchronous connection."""
    try:
        row = await (await conn.execute(named(_FOUND), _newest())).fetchone()
    except _ABSENT:
        row = None
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _no_grants(exc) from None
    _judge(*(row or (None, None, False)))


def check_producer(conn: Connection[Any]) -> None:
    """As `check`; a role that may not look at the versions is believed to know what it does."""
    with suppress(NoGrants):
        check(conn)


async def check_producer_async(conn: AsyncConnection[Any]) -> None:
    """As `check_producer`, on an asynchronous connection."""
    with suppress(NoGrants):
        await check_async(conn)


def check_all(conn: Connection[Any]) -> None:
    """Raise SchemaError unless the version and all functions and views are those of this code."""
    check(conn)
    if other := other_functions(conn):
        raise SchemaError(f"the database has other functions than this code ({', '.join(other)}): run `{_command()}`")


def other_functions(conn: Connection[Any]) -> list[str]:
    """Return the names of the files of functions and views that the database has otherwise than this code."""
    return differing(_state(conn))


def _command() -> str:
    """Return what brings this schema up to date."""
    return "fastq migrate" + f" --schema {schema()}" * (schema() != DEFAULT)


def _newest() -> dict[str, int]:
    return {"newest": newest()}


def _judge(found: int | None, suits: int | None, cluster: bool) -> None:
    """Raise SchemaError unless version `found` is the one of this code, or all that came after it suit this code."""
    if cluster:
        sql.use_cluster()
    if found is None:
        raise SchemaError(f"the database has no {schema()} schema: run `{_command()}`")
    if found > newest() and (suits is None or suits > newest()):
        raise SchemaError(newer(found))
    if found < newest():
        raise SchemaError(f"the database has fastq schema {found}, this code needs {newest()}: run `{_command()}`")


class NoGrants(SchemaError):
    """This role may not look."""


def _no_grants(exc: psycopg.Error) -> NoGrants:
    return NoGrants(
        f"this role may not use the fastq schema ({exc.diag.message_primary}): docs/roles.md has the grants"
    )
