"""The web frameworks and migrations of a team, with the examples as they stand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psycopg
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
Db = psycopg.Connection[Any]

pytestmark = pytest.mark.e2e


def url_of(dsn: str, driver: str) -> str:
    """Return a DSN as SQLAlchemy's URL."""
    from sqlalchemy.engine import URL

    known = {k: str(v) for k, v in psycopg.conninfo.conninfo_to_dict(dsn).items()}
    query = {"host": known["host"], "port": known.get("port", "5432")}
    url = URL.create(f"postgresql+{driver}", username=known["user"], database=known["dbname"], query=query)
    return url.render_as_string(hide_password=False)


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import an example's `shop.py`."""
    spec = importlib.util.spec_from_file_location(f"{name}_shop", EXAMPLES / name / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def serving(api: Any, lifespan: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an application whose lifespan has begun."""
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with lifespan, httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


def tasks(db: Db) -> list[str]:
    """Return the tasks of the jobs that others see."""
    return [name.rpartition(".")[2] for (name,) in db.execute("select task from fastq.job order by id").fetchall()]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_fastapi(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    """A request's jobs are there with its row, or neither; a worker completes one in a session of its own."""
    monkeypatch.setenv("SHOP_DB", url_of(dsn, driver))
    shop = example("fastapi_shop", monkeypatch)
    async with serving(shop.api, shop.api.router.lifespan_context(shop.api)) as client:
        assert (await client.post("/accounts", json={"email": "ada@example.com"})).status_code == 201
        assert tasks(db) == ["welcome", "count"]
        assert (await client.post("/accounts", json={"email": "nobody"})).status_code == 422
        assert tasks(db) == ["welcome", "count"]
        assert db.execute("select email from account").fetchall() == [("ada@example.com",)]
        from fastq import testing

        await testing.drain(shop.app)
        assert db.execute("select welcomed from account").fetchall() == [(True,)]
        assert tasks(db) == []


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_litestar(dsn: str, db: Db, monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    """The same with its plugin."""
    pytest.importorskip("litestar")
    db.execute("create table account (id serial, email text)")
    monkeypatch.setenv("SHOP_DB", url_of(dsn, driver))
    shop = example("litestar_shop", monkeypatch)
    async with serving(shop.api, shop.api.lifespan()) as client:
        assert (await client.post("/accounts", json={"email": "ada@example.com"})).status_code == 201
        assert tasks(db) == ["welcome"]
        assert (await client.post("/accounts", json={"email": "nobody"})).status_code == 500
        assert tasks(db) == ["welcome"]
        assert db.execute("select email from account").fetchall() == [("ada@example.com",)]
    await shop.engine().dispose()


ENV = """
import asyncio
from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.ext.asyncio import create_async_engine

url = context.config.get_main_option("sqlalchemy.url")


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def run_async():
    async with create_async_engine(url, poolclass=pool.NullPool).connect() as connection:
        await connection.run_sync(run)


if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif "asyncpg" in url:
    asyncio.run(run_async())
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        run(connection)
"""
REVISION = """
from alembic import op
import fastq.integrations.alembic

revision = "1"
down_revision = None


def upgrade():
    fastq.integrations.alembic.upgrade(op)
    op.execute("select fastq.enqueue('a.task')")
    op.execute("{}")


def downgrade():
    pass
"""


def alembic(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run alembic on a project that has one revision."""
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {folder}\nsqlalchemy.url = {url.replace('%', '%%')}\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(folder / "alembic.ini"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_alembic(empty_dsn: str, tmp_path: Path, driver: str) -> None:
    """One revision brings the schema, before what uses it; with psycopg all or nothing; offline as SQL."""
    pytest.importorskip("alembic")
    url = url_of(empty_dsn, driver)
    versions = tmp_path / "versions"
    versions.mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (versions / "one.py").write_text(REVISION.format("select no_such_function()"))
    with psycopg.connect(empty_dsn, autocommit=True) as db:
        assert alembic(tmp_path, url, "upgrade", "head").returncode == 1
        there = db.execute("select to_regclass('fastq.job')").fetchone()
        assert there == (("fastq.job",) if driver == "asyncpg" else (None,))
        (versions / "one.py").write_text(REVISION.format("select 1"))
        done = alembic(tmp_path, url, "upgrade", "head")
        assert done.returncode == 0, done.stderr
        assert db.execute("select task from fastq.job").fetchall() == [("a.task",)]
    script = alembic(tmp_path, url, "upgrade", "head", "--sql")
    assert script.returncode == 0, script.stderr
    with psycopg.connect(empty_dsn, autocommit=True) as db:
        db.execute("drop schema fastq cascade; drop table alembic_version")
        db.execute(script.stdout)
        assert db.execute("select task from fastq.job").fetchall() == [("a.task",)]
