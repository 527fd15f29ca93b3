"""How streams of jobs get into the database: by COPY, or if there are few, by the statement that single ones take.

Encoding is pure; drivers are thin.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from sys import maxsize
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor

from fastq import codec
from fastq.connections import all_or_none, all_or_none_sync
from fastq.errors import ArgumentError
from fastq.job import JobIds, JobSpec, Options, check_spec
from fastq.protocol import ordered, unique
from fastq.protocol.asking import ask, ask_sync
from fastq.protocol.enqueue import (
    BLOCK,
    LINES_MOST,
    Line,
    Progress,
    check_numbers,
    insert_lines,
    insert_lines_sync,
    payload,
)
from fastq.protocol.unique import Placed

FEW = 256
"""Up to so many jobs one statement costs less than a COPY and all that belongs to it."""


class CopyText:
    """Writes specs as COPY text. Most rows are plain and go to ready as they come; rows with rarer columns, or with a
    time to wait for, need a COPY of their own and are kept aside until the chunk ends; so are those with unique keys,
    or with headers and a time, which need a statement of their own.
    """

    def __init__(self, *, shard: int, limit_bytes: int, patience: str | None = None) -> None:
        self.patience = patience
        """As of `unique.insert`."""
        self._shard = shard
        self._limit_bytes = limit_bytes
        self._head = self._now_ms = 0
        self._blocks: list[int] = []
        self._plain: list[bytes] = []
        self._rich: list[bytes] = []
        self._scheduled: list[bytes] = []
        self._unique: list[bytes] = []
        self._firsts: list[tuple[int, int]] = []
        self.ids = JobIds()
        self.begins: set[tuple[str, str]] = set()
        """The lines that ordered jobs were put into, to be begun at the end."""
        self.reading = False
        """Whether the caller's iterable is being asked for more."""
        self.whole = False
        """Whether all was sent, so that only the commit is missing."""

    def begin(self, blocks: list[int], head: int, now_ms: int) -> None:
        """Start a chunk with the positions, the segment and the database's time that take_positions gave."""
        self._blocks, self._head, self._now_ms = list(blocks), head, now_ms
        self._firsts = []

    def read(self, stream: Iterator[JobSpec]) -> list[JobSpec]:
        """Return the next specs, at most BLOCK."""
        self.reading = True
        specs = list(islice(stream, BLOCK))
        self.reading = False
        return specs

    def few(self, stream: Iterator[JobSpec]) -> tuple[list[Line], Iterator[JobSpec]]:
        """Return a stream's jobs as lines if they are few and no statement of their own is needed; and the stream."""
        self.reading = True
        first = list(islice(stream, FEW + 1))
        self.reading = False
        for spec in first:
            check_spec(spec)
        if len(first) > FEW or any(spec.options.apart for spec in first):
            return [], chain(first, stream)
        return [Line(spec, self._limit_bytes) for spec in first], stream

    @property
    def full(self) -> bool:
        """Whether the chunk has no positions left."""
        return not self._blocks

    @property
    def plain_copy(self) -> str:
        """Return the COPY statement that takes what `encode` returns."""
        return f"copy fastq.ready_{self._head} (pos, shard, enqueued_ms, queue, priority, task, payload) from stdin"

    def encode(self, specs: list[JobSpec]) -> bytes:
        """Return the plain rows among at most BLOCK specs as COPY text; keep the others aside."""
        try:
            return self._encode(specs)
        except AttributeError:  # most likely something among them is no job, which is not looked for one by one
            for spec in specs:
                check_spec(spec)
            raise

    def _encode(self, specs: list[JobSpec]) -> bytes:
        first = pos = self._blocks.pop(0)
        limit, encode, plain = self._limit_bytes, codec.encode, self._plain
        task: str | None = None
        options: Options | None = None
        prefix, rows = b"", plain
        for spec in specs:
            if spec.options is not options or spec.task is not task:
                options, task = spec.options, spec.task
                prefix, rows = self._prefix(task, options)
            try:
                body = encode(spec.args)
            except ArgumentError:
                body = payload(spec, limit)
            if rows is not plain or len(body) > limit:
                body = payload(spec, limit).replace(b"\\", b"\\\\")
            rows.append(b"%d%b%b\n" % (pos, prefix, body))
            pos += 1
        self._firsts.append((first, len(self.ids)))
        self.ids.add(range(first, pos))
        return self._take_plain(specs)

    def _take_plain(self, specs: list[JobSpec]) -> bytes:
        """Return the plain rows. Escapes and nulls are looked for here, since once for all is a fifth of the work."""
        text = self._take(self._plain)
        if b"null" in text:
            for spec in specs:
                check_numbers(spec)
        return text.replace(b"\\", b"\\\\")

    def leftovers(self) -> Iterator[tuple[str, bytes]]:
        """Yield (COPY statement, text) for the rows that were kept aside in this chunk."""
        columns = "shard, enqueued_ms, queue, priority, task, group_key"
        if self._rich:
            yield f"copy fastq.ready_{self._head} (pos, {columns}, meta, payload) from stdin", self._take(self._rich)
        if self._scheduled:
            yield f"copy fastq.scheduled (id, {columns}, run_at, payload) from stdin", self._take(self._scheduled)

    def unique_lines(self) -> Iterator[list[str]]:
        """Yield the lines of this chunk's jobs with unique keys, at most 1024 at a time, in the order of their keys."""
        rows = [row.replace(b"\\\\", b"\\").decode().rstrip("\n") for row in self._unique]
        self._unique.clear()
        rows.sort(key=_key_and_id)
        for start in range(0, len(rows), LINES_MOST):
            yield rows[start : start + LINES_MOST]

    def placed(self, lines: list[str], answers: list[Placed]) -> None:
        """Note who holds the keys of those lines."""
        for line, answer in zip(lines, answers, strict=True):
            if answer.duplicate:
                pos = _key_and_id(line)[1]
                first, place = self._firsts[bisect_right(self._firsts, (pos, maxsize)) - 1]
                self.ids.replace(place + pos - first, answer.id)

    def _take(self, rows: list[bytes]) -> bytes:
        text = b"".join(rows)
        rows.clear()
        return text

    def _prefix(self, task: str, options: Options) -> tuple[bytes, list[bytes]]:
        """Return the fields between position and payload, and the rows that such a row belongs to."""
        if options.ordered:
            self.begins.add((options.queue, options.group_key))
        meta = options.meta().decode()
        if options.apart or (options.waits and meta):
            return _escape(f"\t{unique.fields(task, options)}").encode(), self._unique
        fields, rows = [str(self._shard), str(self._now_ms), options.queue, str(options.priority), task], self._plain
        if options.waits:
            fields, rows = [*fields, options.group_key, self._run_at(options).isoformat()], self._scheduled
        elif options.group_key or meta:
            fields, rows = [*fields, options.group_key, meta], self._rich
        if rows is not self._plain:  # those are escaped later, all at once
            fields = [_escape(field) for field in fields]
        if rows is self._rich:
            fields[-1] = fields[-1] or r"\N"
        return "\t".join(["", *fields, ""]).encode(), rows

    def _run_at(self, options: Options) -> datetime:
        if options.run_at is not None:
            return options.run_at
        return datetime.fromtimestamp(self._now_ms / 1000 + (options.delay_s or 0), UTC)


def _key_and_id(line: str) -> tuple[str, int]:
    pos, key, _ = line.split("\t", 2)
    return key, int(pos)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\")


def blocks_for_chunk(chunk: int) -> int:
    """Return how many blocks of positions to take for the n-th chunk: few for a short stream, many for a long one."""
    return min(1 << 2 * chunk, 64)


async def put_jobs(
    conn: AsyncConnection[Any],
    specs: Iterable[JobSpec],
    text: CopyText,
    *,
    shard: int,
    progress: Progress | None = None,
) -> JobIds:
    """Enqueue a stream of jobs in one transaction, by whichever way is cheaper.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    lines, stream = text.few(iter(specs))
    if not lines:
        return await copy_jobs(conn, stream, text, shard=shard, progress=progress)
    text.whole = True
    return _told(text.ids, await insert_lines(conn, lines, shard=shard), progress)


def put_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], text: CopyText, *, shard: int, progress: Progress | None = None
) -> JobIds:
    """As put_jobs, on a synchronous connection."""
    lines, stream = text.few(iter(specs))
    if not lines:
        return copy_jobs_sync(conn, stream, text, shard=shard, progress=progress)
    text.whole = True
    return _told(text.ids, insert_lines_sync(conn, lines, shard=shard), progress)


def _told(ids: JobIds, jobs: list[int], progress: Progress | None) -> JobIds:
    for job in jobs:
        ids.add(range(job, job + 1))
    if progress is not None:
        progress(len(ids))
    return ids


async def copy_jobs(
    conn: AsyncConnection[Any],
    specs: Iterable[JobSpec],
    text: CopyText,
    *,
    shard: int,
    progress: Progress | None = None,
) -> JobIds:
    """Stream specs into the database through COPY, in one transaction; memory stays flat.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    stream, chunk = iter(specs), 0
    specs_ahead = text.read(stream)
    async with all_or_none(conn):
        while specs_ahead:
            params = {"shard": shard, "blocks": blocks_for_chunk(chunk)}
            text.begin(*await ask(conn, "take_positions", params))
            async with AsyncCursor(conn) as cur, cur.copy(text.plain_copy.encode()) as copy:
                while specs_ahead and not text.full:
                    await copy.write(text.encode(specs_ahead))
                    if progress is not None:
                        progress(len(text.ids))
                    specs_ahead = text.read(stream)
            for command, rows in text.leftovers():
                async with AsyncCursor(conn) as cur, cur.copy(command.encode()) as copy:
                    await copy.write(rows)
            for lines in text.unique_lines():
                text.placed(lines, await unique.insert(conn, lines, shard=shard, patience=text.patience))
            chunk += 1
        if text.begins:
            await ordered.begin(conn, shard=shard, lines=text.begins)
        text.whole = True
    return text.ids


def copy_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], text: CopyText, *, shard: int, progress: Progress | None = None
) -> JobIds:
    """As copy_jobs, on a synchronous connection."""
    stream, chunk = iter(specs), 0
    specs_ahead = text.read(stream)
    with all_or_none_sync(conn):
        while specs_ahead:
            params = {"shard": shard, "blocks": blocks_for_chunk(chunk)}
            text.begin(*ask_sync(conn, "take_positions", params))
            with Cursor(conn) as cur, cur.copy(text.plain_copy.encode()) as copy:
                while specs_ahead and not text.full:
                    copy.write(text.encode(specs_ahead))
                    if progress is not None:
                        progress(len(text.ids))
                    specs_ahead = text.read(stream)
            for command, rows in text.leftovers():
                with Cursor(conn) as cur, cur.copy(command.encode()) as copy:
                    copy.write(rows)
            for lines in text.unique_lines():
                text.placed(lines, unique.insert_sync(conn, lines, shard=shard, patience=text.patience))
            chunk += 1
        if text.begins:
            ordered.begin_sync(conn, shard=shard, lines=text.begins)
        text.whole = True
    return text.ids
