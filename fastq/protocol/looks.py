"""Looks into many shards: one statement for all of them on one server, one for each on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import tuple_row

from fastq import sql
from fastq.postgres.away import absent, of_a_node
from fastq.sql import call_over_shards, over_segments, over_shards, statement

ONLY_SEGMENT = 0
"""A cluster's ring stands still: all jobs are in its first segment."""

Rows = list[tuple[Any, ...]]


async def look(
    conn: AsyncConnection[Any],
    name: str,
    params: Mapping[str, Any],
    shards: Iterable[int],
    *,
    segments: bool = False,
    binary: bool = False,
) -> Rows:
    """Return what `name`.sql finds, each row with its shard in front; shards that are away are left out."""
    if sql.on_cluster():
        text = statement(name, ONLY_SEGMENT if segments else None)
        return await _one_by_one(conn, text, params, shards, binary=binary)
    text = over_segments(name, shards=True) if segments else over_shards(name)
    return await _rows(conn, text, {**params, "shards": list(shards)}, binary=binary)


def look_sync(
    conn: Connection[Any], name: str, params: Mapping[str, Any], shards: Iterable[int], *, segments: bool = False
) -> Rows:
    """As `look`, on a synchronous connection; a shard that is away is an error."""
    cur = conn.cursor(row_factory=tuple_row)
    if not sql.on_cluster():
        text = over_segments(name, shards=True) if segments else over_shards(name)
        return cur.execute(text, {**params, "shards": list(shards)}).fetchall()
    found: Rows = []
    for shard in shards:
        rows = cur.execute(statement(name, ONLY_SEGMENT if segments else None), {**params, "shard": shard}).fetchall()
        found += [(shard, *row) for row in rows]
    return found


async def call(conn: AsyncConnection[Any], name: str, params: Mapping[str, Any], shards: Iterable[int]) -> Rows:
    """As `look`, of a statement that writes, by its function."""
    if sql.on_cluster():
        return await _one_by_one(conn, statement(name), params, shards, binary=False)
    return await _rows(conn, call_over_shards(name), {**params, "shards": list(shards)}, binary=False)


async def _one_by_one(
    conn: AsyncConnection[Any], text: Any, params: Mapping[str, Any], shards: Iterable[int], *, binary: bool
) -> Rows:
    found: Rows = []
    for shard in absent.present(shards):
        try:
            found += [(shard, *row) for row in await _rows(conn, text, {**params, "shard": shard}, binary=binary)]
        except psycopg.Error as exc:
            if not of_a_node(exc, conn):
                raise
            absent.note(shard, exc)
        else:
            absent.seen(shard)
    return found


async def _rows(conn: AsyncConnection[Any], text: Any, params: Mapping[str, Any], *, binary: bool) -> Rows:
    cur = conn.cursor(row_factory=tuple_row)
    await cur.execute(text, params, prepare=True, binary=binary)
    return await cur.fetchall()
