"""The demo's own tables, as any application has, and what the demo reads from them and from fastq's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from fastq.sql.naming import named

CREATE = """
create schema demo;
create table demo.file (path text primary key, run_s float8 not null);
create table demo.symbol (path text not null, kind text not null, name text not null, line int4 not null);
create table demo.ping (taken_s float8 not null);
"""
INSERT_FILE = "insert into demo.file (path, run_s) values (%s, %s)"
INSERT_SYMBOLS = """
insert into demo.symbol (path, kind, name, line)
select %s, kind, name, line from unnest(%s::text[], %s::text[], %s::int4[]) as s(kind, name, line)
"""
INSERT_PING = "insert into demo.ping (taken_s) values (%s)"

_WORKERS = "select count(*) from fastq.worker"
_DONE = "select (select count(*) from demo.file), (select count(*) from fastq.finished where state = 'failed')"
_PINGS = "select count(*) from demo.ping"
# The first job in line, by the primary key: counting some 100,000 rows would take the CPU from those who run them.
_FIRST = "select min(pos) from fastq.ready where shard = 0 and queue = 'noops' and priority = 4 and group_key = ''"
_LEASED = "select count(*) from fastq.lease where queue = 'noops'"

_FAILURES = """
select payload ->> 'path' as path, meta -> 'errors' -> -1 ->> 'type' as error,
       meta -> 'errors' -> -1 ->> 'message' as message
from fastq.job where state = 'failed' order by id
"""
_SLOWEST = "select path, run_s from demo.file order by run_s desc limit %s"
_KINDS = "select count(*) filter (where kind = 'function'), count(*) filter (where kind = 'class') from demo.symbol"
_RUNS = "select coalesce(percentile_cont(%s::float8[]) within group (order by run_s), '{}') from demo.file"
_WAITS = "select coalesce(percentile_cont(%s::float8[]) within group (order by taken_s), '{}') from demo.ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be indexed, and why."""

    path: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRun:
    """How long one file took."""

    path: str
    run_s: float


def _row(conn: Connection[Any], query: LiteralString, parameters: list[Any] | None = None) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = conn.execute(named(query).encode(), parameters).fetchone()
    assert row is not None, "an aggregate without grouping always has a row"
    return row


def create(conn: Connection[Any]) -> None:
    """Make the tables."""
    conn.execute(CREATE)


def workers(conn: Connection[Any]) -> int:
    """Return how many worker processes are registered."""
    return int(_row(conn, _WORKERS)[0])


def files_done(conn: Connection[Any]) -> tuple[int, int]:
    """Return how many files were indexed, and how many failed."""
    done, failed = _row(conn, _DONE)
    return done, failed


def pings_done(conn: Connection[Any]) -> int:
    """Return how many pings were answered."""
    return int(_row(conn, _PINGS)[0])


def noops_left(conn: Connection[Any], last: int) -> int | None:
    """Return about how many no-ops, of which the last is job `last`, still stand in line; None when all are done."""
    first = _row(conn, _FIRST)[0]
    if first is not None:
        return int(max(1, last - first + 1))
    return 0 if _row(conn, _LEASED)[0] else None


def failures(conn: Connection[Any]) -> list[Failure]:
    """Return the failed jobs in the order of their files."""
    return conn.cursor(row_factory=class_row(Failure)).execute(named(_FAILURES)).fetchall()


def slowest(conn: Connection[Any], most: int) -> list[FileRun]:
    """Return the files that took longest."""
    return conn.cursor(row_factory=class_row(FileRun)).execute(_SLOWEST, [most]).fetchall()


def symbols(conn: Connection[Any]) -> tuple[int, int]:
    """Return how many functions and how many classes were found."""
    functions, classes = _row(conn, _KINDS)
    return functions, classes


def run_percentiles(conn: Connection[Any], shares: list[float]) -> list[float]:
    """Return percentiles of the seconds that indexing a file took; none when no file was indexed."""
    return list(_row(conn, _RUNS, [shares])[0])


def wait_percentiles(conn: Connection[Any], shares: list[float]) -> list[float]:
    """Return percentiles of the seconds between the sending of a ping and its handler's start."""
    return list(_row(conn, _WAITS, [shares])[0])
