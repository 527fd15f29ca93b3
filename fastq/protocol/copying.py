"""How streams of jobs get into the database: by COPY, or if there are few, by the statement that single ones take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor

from fastq.connections import all_or_none, all_or_none_sync
from fastq.job import JobIds, JobSpec
from fastq.protocol import ordered, unique
from fastq.protocol.asking import ask, ask_sync
from fastq.protocol.enqueue import Progress, insert_lines, insert_lines_sync
from fastq.protocol.packing import BEGINS, ENDS, Packer, blocks_for_chunk, ids_of


async def put_jobs(
    conn: AsyncConnection[Any],
    specs: Iterable[JobSpec],
    packer: Packer,
    *,
    shard: int,
    progress: Progress | None = None,
) -> JobIds:
    """Enqueue a stream of jobs in one transaction, by whichever way is cheaper.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    lines, stream = packer.few(iter(specs))
    if not lines:
        return await copy_jobs(conn, stream, packer, shard=shard, progress=progress)
    packer.whole = True
    return _told(packer, await insert_lines(conn, lines, shard=shard), progress)


def put_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], packer: Packer, *, shard: int, progress: Progress | None = None
) -> JobIds:
    """As put_jobs, on a synchronous connection."""
    lines, stream = packer.few(iter(specs))
    if not lines:
        return copy_jobs_sync(conn, stream, packer, shard=shard, progress=progress)
    packer.whole = True
    return _told(packer, insert_lines_sync(conn, lines, shard=shard), progress)


def _told(packer: Packer, jobs: list[int], progress: Progress | None) -> JobIds:
    ids = ids_of(packer.ids, jobs)
    if progress is not None:
        progress(len(ids))
    return ids


async def copy_jobs(
    conn: AsyncConnection[Any],
    specs: Iterable[JobSpec],
    packer: Packer,
    *,
    shard: int,
    progress: Progress | None = None,
) -> JobIds:
    """Stream specs into the database through COPY, in one transaction; memory stays flat.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    stream, chunk = iter(specs), 0
    specs_ahead = packer.read(stream)
    async with all_or_none(conn):
        while specs_ahead:
            params = {"shard": shard, "blocks": blocks_for_chunk(chunk)}
            packer.begin(*await ask(conn, "take_positions", params))
            async with AsyncCursor(conn) as cur, cur.copy(packer.packets_copy.encode()) as copy:
                await copy.write(BEGINS)
                while specs_ahead and not packer.full:
                    await copy.write(packer.encode(specs_ahead))
                    if progress is not None:
                        progress(len(packer.ids))
                    specs_ahead = packer.read(stream)
                await copy.write(ENDS)
            for command, rows in packer.leftovers():
                async with AsyncCursor(conn) as cur, cur.copy(command.encode()) as copy:
                    await copy.write(rows)
            for lines in packer.unique_lines():
                packer.placed(lines, await unique.insert(conn, lines, shard=shard, patience=packer.patience))
            chunk += 1
        if packer.begins:
            await ordered.begin(conn, shard=shard, lines=packer.begins)
        packer.whole = True
    return packer.ids


def copy_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], packer: Packer, *, shard: int, progress: Progress | None = None
) -> JobIds:
    """As copy_jobs, on a synchronous connection."""
    stream, chunk = iter(specs), 0
    specs_ahead = packer.read(stream)
    with all_or_none_sync(conn):
        while specs_ahead:
            params = {"shard": shard, "blocks": blocks_for_chunk(chunk)}
            packer.begin(*ask_sync(conn, "take_positions", params))
            with Cursor(conn) as cur, cur.copy(packer.packets_copy.encode()) as copy:
                copy.write(BEGINS)
                while specs_ahead and not packer.full:
                    copy.write(packer.encode(specs_ahead))
                    if progress is not None:
                        progress(len(packer.ids))
                    specs_ahead = packer.read(stream)
                copy.write(ENDS)
            for command, rows in packer.leftovers():
                with Cursor(conn) as cur, cur.copy(command.encode()) as copy:
                    copy.write(rows)
            for lines in packer.unique_lines():
                packer.placed(lines, unique.insert_sync(conn, lines, shard=shard, patience=packer.patience))
            chunk += 1
        if packer.begins:
            ordered.begin_sync(conn, shard=shard, lines=packer.begins)
        packer.whole = True
    return packer.ids
