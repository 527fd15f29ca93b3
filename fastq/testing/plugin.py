"""The fixtures that pytest finds by itself where fastq is installed.

Only pytest is imported with this file: it is loaded in every run of every project, whether that has jobs or not.

fastq_server ─► fastq_template ─► fastq_dsn     the session's server, its template, and a copy of that for one test
                 └── fastq_prepare              to be overridden: the application's own tables, made once
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

SERVER_VARIABLE = "FASTQ_TEST_DSN"
"""Names the server to test on. FASTQ_DSN and DATABASE_URL may be anybody's: databases are not made there unasked."""


@pytest.fixture(scope="session")
def fastq_server() -> Iterator[str]:
    """Give the conninfo of a server to make databases on: FASTQ_TEST_DSN, else an embedded one for this session."""
    from fastq.testing.databases import server

    with server(os.environ.get(SERVER_VARIABLE)) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def fastq_prepare() -> Callable[[str], None] | None:
    """Override this: return a function of a DSN that makes your tables in the template, once per session."""
    return None


@pytest.fixture(scope="session")
def fastq_template(fastq_server: str, fastq_prepare: Callable[[str], None] | None) -> Iterator[str]:
    """Give the name of the database that each test gets a copy of."""
    from fastq.testing.databases import template

    with template(fastq_server, fastq_prepare) as name:
        yield name


@pytest.fixture
def fastq_dsn(fastq_server: str, fastq_template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the DSN of a fresh, migrated database; FASTQ_DSN names it too, so that an App() without a DSN uses it."""
    from fastq.testing.databases import database

    with database(fastq_server, fastq_template) as dsn:
        monkeypatch.setenv("FASTQ_DSN", dsn)
        yield dsn
