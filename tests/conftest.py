"""One real PostgreSQL for the whole run, the embedded one unless FASTQ_TEST_DSN names another; a database per test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import children
import psycopg
import pytest
from psycopg import conninfo

from fastq import testing
from fastq.schema import migrator


def pytest_configure() -> None:
    """Prepare what every test's children inherit."""
    children.prepare()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Give the conninfo of a running server."""
    with testing.server(os.environ.get("FASTQ_TEST_DSN")) as value:
        yield value


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """Give the name of a migrated database to copy; FASTQ_TEST_SHARDS says how many shards it has."""
    with testing.template(server) as name:
        with psycopg.connect(conninfo.make_conninfo(server, dbname=name), autocommit=True) as conn:
            migrator.set_shards(conn, int(os.environ.get("FASTQ_TEST_SHARDS", "1")))
        yield name


@pytest.fixture
def empty_dsn(server: str) -> Iterator[str]:
    """Give the conninfo of a database without a schema."""
    with testing.database(server) as value:
        yield value


@pytest.fixture
def dsn(server: str, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the conninfo of a fresh, migrated database; FASTQ_DSN names it too, for child processes."""
    with testing.database(server, template) as value:
        monkeypatch.setenv("FASTQ_DSN", value)
        yield value


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
