"""The database that the handlers tell their doings to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from embedded_base import base, cluster, empty  # noqa: F401 - fixtures
from supervisor_runs import start  # noqa: F401 - a fixture


@pytest.fixture
def db(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to a database with the tables that the handlers write to."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table probe (id int8 generated always as identity, what text, value text, pid int)")
        conn.execute("create table gate (open bool)")
        yield conn
