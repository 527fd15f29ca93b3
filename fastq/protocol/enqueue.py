"""How jobs get into the database: lines for one statement, or rows for COPY. Encoding is pure; drivers are thin.

`Lines` serves small numbers (one statement, one commit, ids by return); `CopyRows` serves streams of any length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from psycopg import AsyncConnection, Connection

from fastq import codec
from fastq.errors import ArgumentError, PayloadTooLarge
from fastq.job import JobIds, JobSpec, Options
from fastq.sql import statement

BLOCK = 1024
"""Positions that one nextval('fastq.pos') stands for."""

LINES_MOST = BLOCK
Progress = Callable[[int], None]


def payload(spec: JobSpec, limit_bytes: int) -> bytes:
    """Return a job's arguments as JSON.

    Raises:
        ArgumentError: they cannot be written as JSON.
        PayloadTooLarge: they are larger than the limit.

    """
    try:
        body = codec.dumps(spec.args)
    except ArgumentError as exc:
        raise ArgumentError(f"an argument of {spec.task!r} {exc}; nothing was enqueued") from None
    if len(body) > limit_bytes:
        raise PayloadTooLarge(
            f"the arguments of {spec.task!r} are {len(body):,} bytes of JSON; the limit is {limit_bytes:,}"
            " (App(payload_limit_bytes=…)). Store the data elsewhere and pass a reference; nothing was enqueued"
        )
    return body


class Line:
    """One job as the text line that insert_jobs and schedule_jobs take."""

    __slots__ = ("text", "waits")

    def __init__(self, spec: JobSpec, limit_bytes: int) -> None:
        options = spec.options
        body = payload(spec, limit_bytes)
        self.waits = options.waits
        self.text = _line_prefix(spec.task, options) + body.decode()


_prefixes: dict[tuple[str, int], tuple[Options, str]] = {}


def _line_prefix(task: str, options: Options) -> str:
    """Return the fields before the payload; kept per task and options object, as those are few and long-lived."""
    key = (task, id(options))
    kept = _prefixes.get(key)
    if kept is not None and kept[0] is options:
        return kept[1]
    place = f"{options.queue}\t{options.priority}\t{task}\t{options.group_key}\t{options.meta().decode()}\t"
    if options.waits:
        delay = "" if options.delay_s is None else repr(options.delay_s)
        run_at = "" if options.run_at is None else options.run_at.isoformat()
        place = f"{delay}\t{run_at}\t{place}"
    if len(_prefixes) >= 1000:
        _prefixes.clear()
    _prefixes[key] = (options, place)
    return place


def line_statements(lines: list[Line], slot: int) -> Iterator[tuple[str, dict[str, Any], list[int]]]:
    """Yield (statement, parameters, places in `lines`) for at most 1024 lines: one, or two if some of them wait."""
    if len(lines) > LINES_MOST:
        raise AssertionError(f"{len(lines)} lines in one statement")
    for name, waits in (("insert_jobs", False), ("schedule_jobs", True)):
        places = [i for i, line in enumerate(lines) if line.waits is waits]
        if places:
            yield name, {"slot": slot, "lines": "\n".join([lines[i].text for i in places])}, places


async def insert_lines(conn: AsyncConnection[Any], lines: list[Line], *, slot: int = 0) -> list[int]:
    """Insert jobs in the connection's transaction, or one of its own; returns their ids in order."""
    statements = list(line_statements(lines, slot))
    if len(statements) > 1:
        async with conn.transaction():
            return _scatter(lines, [((await _one(conn, name, params)), places) for name, params, places in statements])
    return _scatter(lines, [((await _one(conn, name, params)), places) for name, params, places in statements])


def insert_lines_sync(conn: Connection[Any], lines: list[Line], *, slot: int = 0) -> list[int]:
    """As insert_lines, on a synchronous connection."""
    with conn.transaction():
        return _scatter(
            lines,
            [
                (_base(conn.execute(statement(name), params).fetchone()), places)
                for name, params, places in line_statements(lines, slot)
            ],
        )


async def _one(conn: AsyncConnection[Any], name: str, params: dict[str, Any]) -> int:
    return _base(await (await conn.execute(statement(name), params)).fetchone())


def _base(row: Any) -> int:
    return int(row["base"] if isinstance(row, dict) else row[0])


def _scatter(lines: list[Line], inserted: list[tuple[int, list[int]]]) -> list[int]:
    ids = [0] * len(lines)
    for base, places in inserted:
        for offset, place in enumerate(places):
            ids[place] = base + offset
    return ids


class CopyText:
    """Writes specs as COPY text. Most rows are plain and go to ready as they come; rows with rarer columns, or with a
    time to wait for, need a COPY of their own and are kept aside until the chunk ends.
    """

    def __init__(self, *, slot: int, limit_bytes: int) -> None:
        self._slot = slot
        self._limit_bytes = limit_bytes
        self._head = self._now_ms = 0
        self._blocks: list[int] = []
        self._plain: list[bytes] = []
        self._rich: list[bytes] = []
        self._scheduled: list[bytes] = []
        self.ids = JobIds()

    def begin(self, blocks: list[int], head: int, now_ms: int) -> None:
        """Start a chunk with the positions, the segment and the database's time that take_positions gave."""
        self._blocks, self._head, self._now_ms = list(blocks), head, now_ms

    @property
    def full(self) -> bool:
        """Whether the chunk has no positions left."""
        return not self._blocks

    @property
    def plain_copy(self) -> str:
        """Return the COPY statement that takes what `encode` returns."""
        return f"copy fastq.ready_{self._head} (pos, slot, enqueued_ms, queue, priority, task, payload) from stdin"

    def encode(self, specs: list[JobSpec]) -> bytes:
        """Return the plain rows among at most BLOCK specs as COPY text; keep the others aside."""
        first = pos = self._blocks.pop(0)
        limit, dumps = self._limit_bytes, codec.dumps
        task: str | None = None
        options: Options | None = None
        prefix, rows = b"", self._plain
        for spec in specs:
            if spec.options is not options or spec.task is not task:
                options, task = spec.options, spec.task
                prefix, rows = self._prefix(task, options)
            try:
                body = dumps(spec.args)
            except ArgumentError:
                body = payload(spec, limit)
            if len(body) > limit:
                payload(spec, limit)
            if b"\\" in body:
                body = body.replace(b"\\", b"\\\\")
            rows.append(b"%d%b%b\n" % (pos, prefix, body))
            pos += 1
        self.ids.add(range(first, pos))
        return self._take(self._plain)

    def leftovers(self) -> Iterator[tuple[str, bytes]]:
        """Yield (COPY statement, text) for the rows that were kept aside in this chunk."""
        columns = "slot, enqueued_ms, queue, priority, task, group_key, meta"
        if self._rich:
            yield f"copy fastq.ready_{self._head} (pos, {columns}, payload) from stdin", self._take(self._rich)
        if self._scheduled:
            yield f"copy fastq.scheduled (id, {columns}, run_at, payload) from stdin", self._take(self._scheduled)

    def _take(self, rows: list[bytes]) -> bytes:
        text = b"".join(rows)
        rows.clear()
        return text

    def _prefix(self, task: str, options: Options) -> tuple[bytes, list[bytes]]:
        """Return the fields between position and payload, and the rows that such a row belongs to."""
        meta = options.meta().decode()
        fields = ["", str(self._slot), str(self._now_ms), _escape(options.queue), str(options.priority), _escape(task)]
        rows = self._plain
        if options.waits or options.group_key or meta:
            fields += [_escape(options.group_key), _escape(meta) or r"\N"]
            rows = self._rich
        if options.waits:
            fields.append(self._run_at(options).isoformat())
            rows = self._scheduled
        return "\t".join([*fields, ""]).encode(), rows

    def _run_at(self, options: Options) -> datetime:
        if options.run_at is not None:
            return options.run_at
        return datetime.fromtimestamp(self._now_ms / 1000 + (options.delay_s or 0), UTC)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\")


def blocks_for_chunk(chunk: int) -> int:
    """Return how many blocks of positions to take for the n-th chunk: few for a short stream, many for a long one."""
    return min(1 << 2 * chunk, 64)


async def copy_jobs(
    conn: AsyncConnection[Any], specs: Iterable[JobSpec], text: CopyText, *, slot: int, progress: Progress | None = None
) -> JobIds:
    """Stream specs into the database through COPY, in one transaction; memory stays flat.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    stream, chunk = iter(specs), 0
    specs_ahead = list(islice(stream, BLOCK))
    async with conn.transaction():
        while specs_ahead:
            params = {"slot": slot, "blocks": blocks_for_chunk(chunk)}
            text.begin(*_place(await (await conn.execute(statement("take_positions"), params)).fetchone()))
            async with conn.cursor() as cur, cur.copy(text.plain_copy.encode()) as copy:
                while specs_ahead and not text.full:
                    await copy.write(text.encode(specs_ahead))
                    if progress is not None:
                        progress(len(text.ids))
                    specs_ahead = list(islice(stream, BLOCK))
            for command, rows in text.leftovers():
                async with conn.cursor() as cur, cur.copy(command.encode()) as copy:
                    await copy.write(rows)
            chunk += 1
    return text.ids


def copy_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], text: CopyText, *, slot: int, progress: Progress | None = None
) -> JobIds:
    """As copy_jobs, on a synchronous connection."""
    stream, chunk = iter(specs), 0
    specs_ahead = list(islice(stream, BLOCK))
    with conn.transaction():
        while specs_ahead:
            params = {"slot": slot, "blocks": blocks_for_chunk(chunk)}
            text.begin(*_place(conn.execute(statement("take_positions"), params).fetchone()))
            with conn.cursor() as cur, cur.copy(text.plain_copy.encode()) as copy:
                while specs_ahead and not text.full:
                    copy.write(text.encode(specs_ahead))
                    if progress is not None:
                        progress(len(text.ids))
                    specs_ahead = list(islice(stream, BLOCK))
            for command, rows in text.leftovers():
                with conn.cursor() as cur, cur.copy(command.encode()) as copy:
                    copy.write(rows)
            chunk += 1
    return text.ids


def _place(row: Any) -> tuple[list[int], int, int]:
    if isinstance(row, dict):
        return row["blocks"], row["head"], row["now_ms"]
    return row[0], row[1], row[2]
