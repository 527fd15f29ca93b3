"""The roles of docs/roles.md, with a login in each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo
from psycopg.errors import InsufficientPrivilege

from fastq.sql import text_of

PAGE = Path(__file__).parents[2] / "docs" / "roles.md"


Db = psycopg.Connection[Any]


JOBS = """
import os, signal
import fastq

app = fastq.App()

@app.task
async def fine(n: int) -> None: ...

@app.task(retries=1, backoff=0.0)
async def bad(n: int) -> None:
    raise ValueError(n)

@app.task
async def later(ctx: fastq.Context, n: int) -> None:
    await ctx.enqueue(fine.options(delay=0.01).job(n=n))

@app.task
async def once(ctx: fastq.Context, n: int) -> None:
    async with ctx.transaction():
        pass

@app.task
async def deadly(n: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def script() -> str:
    """Return the SQL of docs/roles.md."""
    found = re.search(r"<!-- roles -->\n\s*```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def logins(db: Db, dsn: str) -> Iterator[dict[str, str]]:
    """Make the page's roles and a login of each, twice as the page allows; give the logins' DSNs; drop all again."""
    mark = uuid4().hex[:8]
    roles = {name: f"t{mark}_{name}" for name in ("worker", "producer", "monitor")}
    text = re.sub(r"fastq_(worker|producer|monitor)\b", lambda m: roles[m[1]], script())
    users = {name: f"{role}_login" for name, role in roles.items()} | {"nobody": f"t{mark}_nobody"}
    try:
        for _ in range(2):
            db.execute(text.encode())
        for name, user in users.items():
            member = f"in role {roles[name]}" if name in roles else ""
            db.execute(f"create role {user} login password '{mark}' {member}".encode())
        yield {name: conninfo.make_conninfo(dsn, user=user, password=mark) for name, user in users.items()}
    finally:
        for role in (*users.values(), *roles.values()):
            if db.execute("select from pg_roles where rolname = %s", [role]).fetchall():
                db.execute(f"drop owned by {role}".encode())
                db.execute(f"drop role {role}".encode())


@contextmanager
def as_role(dsn: str) -> Iterator[Db]:
    """Give a connection of a role."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def command(dsn: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `fastq …` to its end as a role."""
    env = {**os.environ, "FASTQ_DSN": dsn}
    return subprocess.run(
        [sys.executable, "-m", "fastq", *args], capture_output=True, text=True, timeout=60, env=env, check=False
    )


def states(db: Db) -> dict[str, int]:
    """Return how many jobs stand in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


def refused(dsn: str, sql: str) -> bool:
    """Tell whether the server refuses a statement to a role for lack of a right."""
    with as_role(dsn) as conn:
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(sql.encode())
        except InsufficientPrivilege:
            return True
    return False


def planned(name: str) -> str:
    """Return a statement that has the server check its rights without running it; all its parameters are null."""
    text = re.sub(r"%\((\w+)\)s", "null", text_of(name, 0, table="ready_0")).replace("%%", "%")
    return text if re.match(r"lock|truncate|select nextval", text) else f"explain {text}"
