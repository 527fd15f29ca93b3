"""Asks the database for the pages: in threads, over a few connections, the same question once for all who ask it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from fastq.postgres import database
from fastq.protocol.refusal import as_our_errors
from fastq.schema import migrator

T = TypeVar("T")
Question = Callable[[Connection[Any]], T]

AT_ONCE = 4
FRESH_S = 2.5
"""For so long at least an answer serves everybody who asks the same."""

STATEMENTS_PER_S = 2.0
"""The database is asked no more than that, however many people look at however many pages."""

_LOOKING_S = 60.0

_KEPT = 200


@dataclass(slots=True)
class _Answer:
    """What was answered, and when."""

    asked_at: float
    statements: int
    answer: asyncio.Future[Any]
    wanted_at: float = 0.0


class Asker:
    """A few connections, opened when they are needed."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._dsn = dsn
        self._idle: deque[database.Connection] = deque()
        self._threads = threading.Semaphore(AT_ONCE)
        self._answers: dict[Hashable, _Answer] = {}
        self.close = weakref.finalize(self, _close, self._idle)
        """Close what is idle; of itself when nobody uses this any more, as inside another application that ends."""

    async def ask(self, question: Question[T]) -> T:
        """Return the answer to a question.

        Raises:
            FastqError: the database cannot be reached, or refuses.

        """
        return await asyncio.to_thread(self._ask, question)

    @property
    def fresh_s(self) -> float:
        """For how long an answer is fresh: the longer, the more people look at that is not the same."""
        since = monotonic() - _LOOKING_S
        return max(FRESH_S, sum(a.statements for a in self._answers.values() if a.wanted_at > since) / STATEMENTS_PER_S)

    async def shared(self, key: Hashable, question: Question[T], *, statements: int = 1) -> T:
        """As `ask`, with about so many statements; whoever asks the same while it is fresh gets the same answer."""
        now = monotonic()
        found = self._answers.get(key)
        if found is None or now - found.asked_at >= self.fresh_s:
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            found = self._answers[key] = _Answer(now, statements, asyncio.ensure_future(self.ask(question)))
        found.wanted_at = now
        answer: T = await asyncio.shield(found.answer)
        return answer

    def forget(self) -> None:
        """Let the next question be asked anew: something was changed."""
        self._answers.clear()

    def _ask(self, question: Question[T]) -> T:
        with self._threads:
            conn = self._connection()
            try:
                with as_our_errors(), database.as_ours_sync(conn), database.answering(conn):
                    return question(conn)
            finally:
                if conn.closed or conn.broken:
                    with suppress(Exception):
                        conn.close()
                else:
                    self._idle.append(conn)

    def _connection(self) -> database.Connection:
        """Return an idle connection that still answers, or a new one to a schema that suits this code."""
        while self._idle:
            with suppress(IndexError, psycopg.Error):
                conn = self._idle.pop()
                conn.execute("select 1")
                return conn
        conn = database.connect(self._dsn(), "fastq dashboard")
        try:
            migrator.check_producer(conn)
        except BaseException:
            conn.close()
            raise
        return conn


def _close(idle: deque[database.Connection]) -> None:
    while idle:
        idle.pop().close()
