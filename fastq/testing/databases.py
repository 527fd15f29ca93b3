"""A database for each test: cloned from a template that was migrated once, on a server of one's own or the embedded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import conninfo

from fastq import embedded
from fastq.schema import migrator
from fastq.testing.statements import statement

BLANK = "template1"


@contextmanager
def server(dsn: str | None = None) -> Iterator[str]:
    """Give the conninfo of a running server: that of `dsn`, else an embedded one in a temporary directory."""
    if dsn:
        yield dsn
        return
    # Not below pytest's tmp_path, which is 0700: as root the server runs as another user.
    base = Path(tempfile.mkdtemp(prefix="fastq-test-"))
    base.chmod(0o755)
    try:
        found = embedded.ensure(base)
        _sync_nothing(found)
        yield found
    finally:
        embedded.stop(base)
        embedded.release(base)
        shutil.rmtree(base, ignore_errors=True)


def _sync_nothing(server: str) -> None:
    """Let a server of tests write without waiting for its disk: it need not survive this machine."""
    with psycopg.connect(server, autocommit=True) as conn:
        for name in ("fsync", "full_page_writes"):
            conn.execute(f"alter system set {name} = off".encode())
        conn.execute("select pg_reload_conf()")


@contextmanager
def template(server: str, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
    """Give the name of a migrated database to copy; `prepare`, called with its DSN, adds what the application needs."""
    with database(server, prefix="fastq_template") as dsn:
        migrate(dsn)
        if prepare is not None:
            prepare(dsn)
        yield str(conninfo.conninfo_to_dict(dsn)["dbname"])


@contextmanager
def database(server: str, template: str = BLANK, *, prefix: str = "test") -> Iterator[str]:
    """Give the DSN of a new database on `server`, a copy of `template`; it is dropped in the end, whoever is in it."""
    name = f"{prefix}_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}".encode())
    try:
        yield conninfo.make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f"drop database if exists {name} with (force)".encode())


def migrate(dsn: str) -> None:
    """Create the fastq schema in a test database that something else made, such as Django's."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        migrator.migrate(conn)


def clear(dsn: str) -> None:
    """Delete all jobs of a test database that several tests share; it waits for whoever is using them."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement("clear_jobs"))
