"""The settings of our sessions in a database that has others: our statements', and those of a handler's transaction."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from scene import Conn, ask, hire, put, take

from fastq import testing
from fastq.app.completing import completing
from fastq.postgres import database
from fastq.postgres.link import Link
from fastq.postgres.session import SETTINGS, session
from fastq.protocol.completion import Place

pytestmark = pytest.mark.protocol

DOCS = Path(__file__).parents[2] / "docs"
STRANGE = {
    "DateStyle": "German, DMY",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "7s",
    "lock_timeout": "8s",
    "idle_in_transaction_session_timeout": "9s",
    "transaction_timeout": "11s",
    "idle_session_timeout": "12s",
}
OURS = {setting.name: setting.value for setting in SETTINGS} | {"DateStyle": "ISO, DMY"}
SHOW = """
select name, current_setting(name) from unnest(%s::text[]) as s(name) where current_setting(name, true) is not null
"""


@pytest.fixture(scope="module")
def strange_dsn(server: str, template: str) -> Iterator[str]:
    """Give a database in which nothing is as we need it."""
    with testing.database(server, template) as value, psycopg.connect(value, autocommit=True) as conn:
        for name, setting in STRANGE.items():
            if conn.execute("select current_setting(%s, true)", [name]).fetchone() != (None,):  # 14 has not all of them
                conn.execute(f"alter database {conn.info.dbname} set {name} = {setting!r}".encode())
        yield value


@pytest.fixture
async def strange(strange_dsn: str) -> AsyncIterator[Conn]:
    """Give a connection with that database's own settings."""
    async with await psycopg.AsyncConnection.connect(strange_dsn, autocommit=True) as conn:
        yield conn


async def shown(conn: Conn) -> dict[str, str]:
    """Return what a session has, as far as the server knows these settings."""
    return dict(await ask(conn, SHOW, list(STRANGE)))


def expected(values: dict[str, str], known: dict[str, str]) -> dict[str, str]:
    """Return those of the settings that the server knows."""
    return {name: value for name, value in values.items() if name in known}


async def test_every_setting_is_set_by_each_kind_of_connection(strange_dsn: str, strange: Conn) -> None:
    """Those of producers, of commands, and of workers and stewards; what the database says is different each time."""
    theirs = await shown(strange)
    assert theirs == expected(STRANGE, theirs)
    assert STRANGE.keys() == OURS.keys()
    async with await database.connect_async(strange_dsn) as conn, database.as_ours(conn):
        assert await shown(conn) == expected(OURS, theirs)
    with database.connect(strange_dsn) as conn, database.as_ours_sync(conn):
        assert dict(conn.execute(SHOW, [list(STRANGE)]).fetchall()) == expected(OURS, theirs)
    link = Link(strange_dsn, "fastq test", "set synchronous_commit = off")
    assert await link.call(shown) == expected(OURS, theirs)
    await link.close()


async def test_the_client_encoding_is_ours(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says, and the DSN."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    for value in (dsn, f"{dsn} client_encoding=SQL_ASCII"):
        async with await database.connect_async(value) as conn:
            assert await ask(conn, "show client_encoding") == [("UTF8",)]
            assert await ask(conn, "select '→'") == [("→",)]


@asynccontextmanager
async def pooled(dsn: str) -> AsyncIterator[database.AsyncConnection]:
    """Give a connection as it is behind a pooler: its session has the database's settings and must keep them."""
    conn = await database.AsyncConnection.connect(dsn, autocommit=True)
    async with conn:
        theirs = dict(await ask(conn, SHOW, list(STRANGE)))
        conn.session = session(pooled=True, theirs=theirs)
        yield conn
        assert dict(await ask(conn, SHOW, list(STRANGE))) == theirs


async def test_behind_a_pooler_a_transaction_sets_them_for_itself(strange_dsn: str) -> None:
    """Its isolation as well, which is not what a later one begins with; the session is left as it was."""
    async with pooled(strange_dsn) as conn:
        known = await shown(conn)
        async with database.as_ours(conn):
            assert await ask(conn, "show transaction_isolation") == [("read committed",)]
            found = await shown(conn)
            assert found | {"default_transaction_isolation": "read committed"} == expected(OURS, known)


@pytest.mark.parametrize("connect", [database.connect_async, pooled])
async def test_a_handlers_transaction_is_as_the_database_says(strange_dsn: str, strange: Conn, connect: Any) -> None:
    """Isolation and timeouts are the database's while the handler's statements run, and ours for our own."""
    worker = await hire(strange)
    await put(strange)
    lease = (await take(strange, worker)).lease
    known = await shown(strange)

    @asynccontextmanager
    async def connection() -> AsyncIterator[database.AsyncConnection]:
        async with connect(strange_dsn) if connect is pooled else await connect(strange_dsn) as conn:
            yield conn

    seen: list[dict[str, str]] = []
    async with completing(connection, Place(0, lease, 0)) as conn:
        assert await ask(conn, "show transaction_isolation") == [("serializable",)]
        governing = [s.name for s in SETTINGS if s.governs and s.name in known]
        seen = [dict(await ask(conn, SHOW, governing))]
        reading = dict(await ask(conn, SHOW, ["DateStyle", "extra_float_digits", "array_nulls"]))
    del seen[0]["default_transaction_isolation"]
    assert seen[0].items() <= STRANGE.items()
    assert reading.items() <= OURS.items()
    assert await ask(strange, "select count(*) from fastq.progress") == [(1,)]
    await strange.execute("delete from fastq.progress; delete from fastq.lease; delete from fastq.worker")


def test_the_documented_settings_are_those_that_are_set() -> None:
    """docs/producers.md lists each with its value."""
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", (DOCS / "producers.md").read_text(), re.MULTILINE)
    assert dict(rows) == {setting.name: setting.value for setting in SETTINGS} | {"client_encoding": "UTF8"}
