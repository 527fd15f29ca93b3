"""One database for all the tests here, emptied before each (a new one costs ten times that), and more connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cron_scene import clockwork, link  # noqa: F401 - fixtures
from psycopg import conninfo
from worker_rig import rig  # noqa: F401 - a fixture

EMPTY = """
truncate fastq.ready_0, fastq.ready_1, fastq.ready_2, fastq.ready_3, fastq.packet, fastq.lease, fastq.scheduled,
         fastq.finished, fastq.worker, fastq.progress, fastq.unique_key, fastq.committed, fastq.line, fastq.head,
         fastq.queue,
         fastq.cron, fastq.leader, fastq.ring, fastq.cancellation, fastq.allowance, fastq.history, fastq.audit,
         fastq.task_history, fastq.task, fastq.setting, fastq.migration, fastq.definition;
insert into fastq.ring (shard) values (0);
alter table fastq.ready validate constraint ready_fits;
alter table fastq.scheduled validate constraint scheduled_fits;
alter table fastq.line validate constraint line_fits;
alter table fastq.finished validate constraint finished_fits;
insert into fastq.setting select * from kept.setting;
insert into fastq.migration select * from kept.migration;
insert into fastq.definition select * from kept.definition;
"""
KEEP = """
create schema kept;
create table kept.setting as table fastq.setting;
create table kept.migration as table fastq.migration;
create table kept.definition as table fastq.definition;
"""


@pytest.fixture(scope="session")
def shared(server: str, template: str) -> Iterator[str]:
    """Give the conninfo of the migrated database that the tests here share."""
    name = f"protocol_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}".encode())
    value = conninfo.make_conninfo(server, dbname=name)
    with psycopg.connect(value, autocommit=True) as conn:
        conn.execute(KEEP.encode())
    try:
        yield value
    finally:
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f"drop database if exists {name} with (force)".encode())


@pytest.fixture
def dsn(shared: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the conninfo of the shared database, emptied; no transaction of an earlier test may still be open."""
    with psycopg.connect(shared, autocommit=True) as conn:
        conn.execute("set lock_timeout = '5s'")
        conn.execute(EMPTY.encode())
    monkeypatch.setenv("FASTQ_DSN", shared)
    return shared


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a second asynchronous autocommit connection."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def third(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a third one."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as opened:
        yield opened
