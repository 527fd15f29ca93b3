"""What is asked of a connection, written once, and the two drivers that do it: asynchronous ones and others.

A `Request` is one statement. A `Work` is several steps, a generator that yields requests and copies and is given their
answers. Cursors are our own: the connections may be anybody's, and make whatever rows their owner likes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import AsyncCursor, Connection, Cursor
from psycopg.rows import tuple_row

from fastq.postgres.connections import Writable, all_or_none, all_or_none_sync
from fastq.postgres.foreign import ForeignConnection
from fastq.sql import statement

T = TypeVar("T")
Row = tuple[Any, ...]


def only(rows: list[Row]) -> Any:
    """Return the first value of the first row."""
    return rows[0][0]


def is_there(rows: list[Row]) -> bool:
    """Tell whether there is a row."""
    return bool(rows)


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One statement, its parameters, and how its rows are read."""

    statement: str
    params: dict[str, Any]
    read: Callable[[list[Row]], T]


@dataclass(frozen=True, slots=True)
class Copy:
    """A COPY from stdin, and what it sends."""

    command: str
    chunks: Iterable[bytes]


Steps = Generator[Request[Any] | Copy, Any, T]


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """Steps that are begun anew each time the work is done; `whole`: in one transaction, or a savepoint."""

    steps: Callable[[], Steps[T]]
    whole: bool = True


Asked = Request[T] | Work[T]


async def carry_out(conn: Writable, asked: Asked[T]) -> T:
    """Return what is asked for."""
    if isinstance(asked, Request):
        return await _answer(conn, asked)
    async with all_or_none(conn) if asked.whole else nullcontext():
        steps = asked.steps()
        try:
            step = next(steps)
            while True:
                step = steps.send(await _do(conn, step))
        except StopIteration as end:
            answer: T = end.value
            return answer
        finally:
            steps.close()


async def _answer(conn: Writable, request: Request[T]) -> T:
    if isinstance(conn, ForeignConnection):
        return request.read(await conn.rows(statement(request.statement), request.params))
    cur = AsyncCursor(conn, row_factory=tuple_row)
    await cur.execute(statement(request.statement), request.params)
    return request.read(await cur.fetchall() if cur.description else [])


async def _do(conn: Writable, step: Request[Any] | Copy) -> Any:
    if isinstance(step, Request):
        return await _answer(conn, step)
    if isinstance(conn, ForeignConnection):
        return await conn.copy(step.command, step.chunks)
    async with AsyncCursor(conn) as cur, cur.copy(step.command.encode()) as copy:
        for chunk in step.chunks:
            await copy.write(chunk)
    return None


def carry_out_sync(conn: Connection[Any], asked: Asked[T]) -> T:
    """As carry_out, on a synchronous connection."""
    if isinstance(asked, Request):
        return _answer_sync(conn, asked)
    with all_or_none_sync(conn) if asked.whole else nullcontext():
        steps = asked.steps()
        try:
            step = next(steps)
            while True:
                step = steps.send(_do_sync(conn, step))
        except StopIteration as end:
            answer: T = end.value
            return answer
        finally:
            steps.close()


def _answer_sync(conn: Connection[Any], request: Request[T]) -> T:
    cur = Cursor(conn, row_factory=tuple_row)
    cur.execute(statement(request.statement), request.params)
    return request.read(cur.fetchall() if cur.description else [])


def _do_sync(conn: Connection[Any], step: Request[Any] | Copy) -> Any:
    if isinstance(step, Request):
        return _answer_sync(conn, step)
    with Cursor(conn) as cur, cur.copy(step.command.encode()) as copy:
        for chunk in step.chunks:
            copy.write(chunk)
    return None
