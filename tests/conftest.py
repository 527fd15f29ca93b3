"""One real PostgreSQL for the whole run, the embedded one unless FASTQ_TEST_DSN names another; a database per test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo

from fastq import embedded
from fastq.schema import migrator

TEMPLATE = "fastq_template"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Give the conninfo of a running server."""
    if given := os.environ.get("FASTQ_TEST_DSN"):
        yield given
        return
    # Not below tmp_path, which is 0700: as root the server runs as another user.
    base = Path(tempfile.mkdtemp(prefix="fastq-test-"))
    base.chmod(0o755)
    try:
        yield embedded.ensure(base)
    finally:
        embedded.stop(base)
        embedded.release(base)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Give the name of a migrated database to copy."""
    name = f"{TEMPLATE}_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name}".encode())
    with psycopg.connect(conninfo.make_conninfo(server, dbname=name), autocommit=True) as conn:
        migrator.migrate(conn)
    return name


@pytest.fixture
def empty_dsn(server: str) -> Iterator[str]:
    """Give the conninfo of a database without a schema."""
    yield from _database(server, "template1")


@pytest.fixture
def dsn(server: str, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the conninfo of a fresh, migrated database; FASTQ_DSN names it too, for child processes."""
    for value in _database(server, template):
        monkeypatch.setenv("FASTQ_DSN", value)
        yield value


def _database(server: str, source: str) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name} template {source}".encode())
    try:
        yield conninfo.make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f"drop database if exists {name} with (force)".encode())


@pytest.fixture
def db(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a synchronous autocommit connection to the test's database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give an asynchronous autocommit connection to the test's database."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as opened:
        yield opened
