"""Applies the migrations, forward only; says whether a database fits this code. One transaction per migration.

Safe to run twice and from two hosts at once: a transaction-level advisory lock lets one through at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection

from fastq.errors import SchemaError, UsageError

_LOCK = 0x6661737471
_ABSENT = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
_LEDGER = """create schema if not exists fastq;
create table if not exists fastq.migration (
  version    int4 primary key,
  name       text not null,
  checksum   text not null,
  applied_at timestamptz not null default now()
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file of `migrations/`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return what tells whether an applied migration is the one we have."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order. A wheel has them beside this file, a checkout at its top."""
    here = Path(__file__).parent
    folder = next(d for d in (here / "migrations", here.parents[1] / "migrations") if d.is_dir())
    found = sorted(folder.glob("[0-9]*.sql"))
    return tuple(
        Migration(version=int(p.stem.split("_", 1)[0]), name=p.stem.split("_", 1)[1], sql=p.read_text("utf-8"))
        for p in found
    )


def newest() -> int:
    """Return the schema version that this code needs."""
    return migrations()[-1].version


def script(without: Collection[int] = ()) -> str:
    """Return everything, or what is missing beside the versions `without`, as one SQL script for a DBA."""
    parts = ["begin;", f"select pg_advisory_xact_lock({_LOCK});", _LEDGER + ";"]
    for m in (m for m in migrations() if m.version not in without):
        parts += [
            f"-- migration {m.version}: {m.name}",
            m.sql.rstrip(),
            f"insert into fastq.migration values ({m.version}, '{m.name}', '{m.checksum}');",  # noqa: S608 - our own
        ]
    return "\n".join([*parts, "commit;", ""])


def migrate(conn: Connection[Any], *, slots: int | None = None, report: Callable[[str], None] = lambda _: None) -> int:
    """Bring the schema up to date; returns how many migrations were applied. Writes nothing when none is missing.

    Raises:
        SchemaError: the database is newer than this code, or an applied migration is not the one we have, or the
            server refused, because the role may not or the database is read-only.

    """
    try:
        known = applied(conn)
        missing = [m for m in migrations() if m.version not in known]
        count = sum(_apply(conn, m, report) for m in missing)
        if slots is not None:
            set_slots(conn, slots)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise SchemaError(
            f"this role may not change the schema ({exc.diag.message_primary}): run `fastq migrate` as its owner"
        ) from None
    except psycopg.Error as exc:
        raise SchemaError(f"PostgreSQL refused the migration: {str(exc).strip()}") from None
    return count


def applied(conn: Connection[Any]) -> Collection[int]:
    """Return the versions that a database has. Needs no more than the right to look.

    Raises:
        SchemaError: they are those of a newer or another fastq.

    """
    row = conn.execute("select to_regclass('fastq.migration')").fetchone()
    return _known(conn) if row is not None and row[0] is not None else {}


def _known(conn: Connection[Any]) -> dict[int, str]:
    """Return the checksums of the applied migrations; refuses those of a newer or another fastq."""
    known = {row[0]: row[1] for row in conn.execute("select version, checksum from fastq.migration").fetchall()}
    _judge(max(known, default=None), applying=True)
    for m in migrations():
        _same(m, known.get(m.version, m.checksum))
    return known


def _apply(conn: Connection[Any], m: Migration, report: Callable[[str], None]) -> bool:
    """Apply one migration unless somebody has; tell whether it was us."""
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        conn.execute("set local client_min_messages = warning")
        conn.execute(_LEDGER)
        if m.version in _known(conn):
            return False
        conn.execute(m.sql.encode())
        conn.execute(
            "insert into fastq.migration (version, name, checksum) values (%s, %s, %s)",
            [m.version, m.name, m.checksum],
        )
    report(f"applied {m.version:04d} {m.name}")
    return True


def set_slots(conn: Connection[Any], slots: int) -> None:
    """Set the number of slots; it can only grow, because jobs may stand in any slot there ever was."""
    if slots < 1:
        raise UsageError(f"slots must be at least 1, not {slots}")
    with conn.transaction():
        row = conn.execute("select value::text::int from fastq.setting where name = 'slots' for update").fetchone()
        now = 1 if row is None else int(row[0])
        if slots < now:
            raise UsageError(f"this database has {now} slots; their number can only grow")
        conn.execute("update fastq.setting set value = to_json(%s::int) where name = 'slots'", [slots])
        conn.execute("insert into fastq.ring (slot) select generate_series(%s, %s - 1)", [now, slots])


def slots(conn: Connection[Any]) -> int:
    """Return the number of slots."""
    row = conn.execute("select value::text::int from fastq.setting where name = 'slots'").fetchone()
    return 1 if row is None else int(row[0])


def check(conn: Connection[Any]) -> None:
    """Raise SchemaError unless the schema is the one this code needs."""
    try:
        row = conn.execute("select max(version) from fastq.migration").fetchone()
    except _ABSENT:
        row = None
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _no_grants(exc) from None
    _judge(None if row is None else row[0])


async def check_async(conn: AsyncConnection[Any]) -> None:
    """As `check`, on an asynchronous connection."""
    try:
        row = await (await conn.execute("select max(version) from fastq.migration")).fetchone()
    except _ABSENT:
        row = None
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _no_grants(exc) from None
    _judge(None if row is None else row[0])


def _judge(found: int | None, *, applying: bool = False) -> None:
    """Raise SchemaError unless version `found` fits this code; `applying` accepts an older one."""
    if found is not None and found > newest():
        raise SchemaError(
            f"the database has fastq schema {found}, this code knows {newest()}: upgrade fastq on this host"
        )
    if applying:
        return
    if found is None:
        raise SchemaError("the database has no fastq schema: run `fastq migrate`")
    if found < newest():
        raise SchemaError(f"the database has fastq schema {found}, this code needs {newest()}: run `fastq migrate`")


def _no_grants(exc: psycopg.Error) -> SchemaError:
    return SchemaError(
        f"this role may not use the fastq schema ({exc.diag.message_primary}): docs/roles.md has the grants"
    )


def _same(m: Migration, checksum: str) -> None:
    if m.checksum != checksum:
        raise SchemaError(
            f"migration {m.version} ({m.name}) was applied with other contents than this fastq has;"
            " this database belongs to a different build of fastq. Use another one; or, if its jobs may go, drop the"
            " schema fastq there (the embedded server: `fastq db reset`)"
        )
