"""How jobs get into the database: lines for one statement, or rows for COPY. Encoding is pure; drivers are thin.

`Line` serves small numbers (one statement, one commit, ids by return); `CopyText` serves streams of any length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import islice
from sys import maxsize
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.pq import TransactionStatus

from fastq import codec
from fastq.errors import ArgumentError, PayloadTooLarge
from fastq.job import JobIds, JobSpec, Options
from fastq.protocol import ordered, unique
from fastq.protocol.asking import ask, ask_sync
from fastq.protocol.unique import Placed

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
    body = _written(spec, limit_bytes)
    if body.find(b"null") >= 0:  # half the price of `in`, for bytes
        _check_numbers(spec)
    return body


def _written(spec: JobSpec, limit_bytes: int) -> bytes:
    """As payload, but nan and infinity have become null; _check_numbers finds them where there is a null."""
    try:
        body = codec.encode(spec.args)
    except ArgumentError as exc:
        raise _unwritable(spec, exc) from None
    if len(body) > limit_bytes:
        raise PayloadTooLarge(
            f"the arguments of {spec.task!r} are {len(body):,} bytes of JSON; the limit is {limit_bytes:,}"
            " (App(payload_limit_bytes=…)). Store the data elsewhere and pass a reference; nothing was enqueued"
        )
    return body


def _check_numbers(spec: JobSpec) -> None:
    try:
        codec.check_numbers(spec.args)
    except ArgumentError as exc:
        raise _unwritable(spec, exc) from None


def _unwritable(spec: JobSpec, why: ArgumentError) -> ArgumentError:
    return ArgumentError(f"an argument of {spec.task!r} {why}; nothing was enqueued")


class Line:
    """One job as the text line that insert_jobs and schedule_jobs take."""

    __slots__ = ("text", "waits")

    def __init__(self, spec: JobSpec, limit_bytes: int) -> None:
        options = spec.options
        kept = _prefixes.get((spec.task, id(options)))
        if kept is None or kept[0] is not options:
            kept = _keep_prefix(spec.task, options)
        _, self.waits, prefix = kept
        body = _written(spec, limit_bytes).decode()
        if "null" in body:
            _check_numbers(spec)
        self.text = prefix + body


_Prefix = tuple[Options, bool, str]
_prefixes: dict[tuple[str, int], _Prefix] = {}


def _keep_prefix(task: str, options: Options) -> _Prefix:
    """Return the options, whether they wait, and the fields before the payload; kept, as options are few and live long.

    An id is that of another object once its own is gone, so the options stand beside the text.
    """
    place = f"{options.queue}\t{options.priority}\t{task}\t{options.group_key}\t{options.meta().decode()}\t"
    if options.waits:
        delay = "" if options.delay_s is None else repr(options.delay_s)
        run_at = "" if options.run_at is None else options.run_at.isoformat()
        place = f"{delay}\t{run_at}\t{place}"
    if len(_prefixes) >= 1000:
        _prefixes.clear()
    kept = _prefixes[(task, id(options))] = (options, options.waits, place)
    return kept


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
    async with all_or_none(conn) if len(statements) > 1 else nullcontext():
        return _scatter(lines, [((await ask(conn, name, params))[0], places) for name, params, places in statements])


def insert_lines_sync(conn: Connection[Any], lines: list[Line], *, slot: int = 0) -> list[int]:
    """As insert_lines, on a synchronous connection."""
    statements = list(line_statements(lines, slot))
    with all_or_none_sync(conn) if len(statements) > 1 else nullcontext():
        return _scatter(lines, [(ask_sync(conn, name, params)[0], places) for name, params, places in statements])


@asynccontextmanager
async def all_or_none(conn: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Give a transaction, or a savepoint in the caller's.

    psycopg's transaction() commits what it began itself. A connection that is not in autocommit mode begins with its
    first statement, here one of nothing, so that the commit is left to the caller.
    """
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        await AsyncCursor(conn).execute(b"")
    async with conn.transaction():
        yield


@contextmanager
def all_or_none_sync(conn: Connection[Any]) -> Iterator[None]:
    """As all_or_none, on a synchronous connection."""
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        Cursor(conn).execute(b"")
    with conn.transaction():
        yield


def _scatter(lines: list[Line], inserted: list[tuple[int, list[int]]]) -> list[int]:
    ids = [0] * len(lines)
    for base, places in inserted:
        for offset, place in enumerate(places):
            ids[place] = base + offset
    return ids


class Apart:
    """A unique or ordered job as its statements take it: its line, and the lines to begin then."""

    __slots__ = ("begins", "text")

    def __init__(self, spec: JobSpec, limit_bytes: int) -> None:
        options = spec.options
        self.text = unique.line(spec, payload(spec, limit_bytes))
        self.begins = [(options.queue, options.group_key)] if options.ordered else []


async def insert_apart(
    conn: AsyncConnection[Any], apart: Apart, *, slot: int = 0, patience: str | None = None
) -> Placed:
    """Insert a unique or ordered job, in the connection's transaction or one of its own; see `unique.insert`."""
    async with all_or_none(conn) if apart.begins else nullcontext():
        (placed,) = await unique.insert(conn, [apart.text], slot=slot, patience=patience)
        if apart.begins:
            await ordered.begin(conn, slot=slot, lines=apart.begins)
        return placed


def insert_apart_sync(conn: Connection[Any], apart: Apart, *, slot: int = 0, patience: str | None = None) -> Placed:
    """As insert_apart, on a synchronous connection."""
    with all_or_none_sync(conn) if apart.begins else nullcontext():
        (placed,) = unique.insert_sync(conn, [apart.text], slot=slot, patience=patience)
        if apart.begins:
            ordered.begin_sync(conn, slot=slot, lines=apart.begins)
        return placed


class CopyText:
    """Writes specs as COPY text. Most rows are plain and go to ready as they come; rows with rarer columns, or with a
    time to wait for, need a COPY of their own and are kept aside until the chunk ends; so are those with unique keys,
    which need a statement of their own.
    """

    def __init__(self, *, slot: int, limit_bytes: int, patience: str | None = None) -> None:
        self.patience = patience
        """As of `unique.insert`."""
        self._slot = slot
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
                _check_numbers(spec)
        return text.replace(b"\\", b"\\\\")

    def leftovers(self) -> Iterator[tuple[str, bytes]]:
        """Yield (COPY statement, text) for the rows that were kept aside in this chunk."""
        columns = "slot, enqueued_ms, queue, priority, task, group_key, meta"
        if self._rich:
            yield f"copy fastq.ready_{self._head} (pos, {columns}, payload) from stdin", self._take(self._rich)
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
        if options.apart:
            return _escape(f"\t{unique.fields(task, options)}").encode(), self._unique
        meta = options.meta().decode()
        fields = ["", str(self._slot), str(self._now_ms), options.queue, str(options.priority), task]
        rows = self._plain
        if options.waits or options.group_key or meta:
            fields = [_escape(field) for field in (*fields, options.group_key, meta)]
            fields[-1] = fields[-1] or r"\N"
            rows = self._rich
        if options.waits:
            fields.append(self._run_at(options).isoformat())
            rows = self._scheduled
        return "\t".join([*fields, ""]).encode(), rows

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


async def copy_jobs(
    conn: AsyncConnection[Any], specs: Iterable[JobSpec], text: CopyText, *, slot: int, progress: Progress | None = None
) -> JobIds:
    """Stream specs into the database through COPY, in one transaction; memory stays flat.

    Raises:
        ArgumentError, PayloadTooLarge: a job cannot be enqueued; then none of them is.

    """
    stream, chunk = iter(specs), 0
    specs_ahead = text.read(stream)
    async with all_or_none(conn):
        while specs_ahead:
            params = {"slot": slot, "blocks": blocks_for_chunk(chunk)}
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
                text.placed(lines, await unique.insert(conn, lines, slot=slot, patience=text.patience))
            chunk += 1
        if text.begins:
            await ordered.begin(conn, slot=slot, lines=text.begins)
        text.whole = True
    return text.ids


def copy_jobs_sync(
    conn: Connection[Any], specs: Iterable[JobSpec], text: CopyText, *, slot: int, progress: Progress | None = None
) -> JobIds:
    """As copy_jobs, on a synchronous connection."""
    stream, chunk = iter(specs), 0
    specs_ahead = text.read(stream)
    with all_or_none_sync(conn):
        while specs_ahead:
            params = {"slot": slot, "blocks": blocks_for_chunk(chunk)}
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
                text.placed(lines, unique.insert_sync(conn, lines, slot=slot, patience=text.patience))
            chunk += 1
        if text.begins:
            ordered.begin_sync(conn, slot=slot, lines=text.begins)
        text.whole = True
    return text.ids
