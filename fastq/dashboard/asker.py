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

T = TypeVar("T")
Question = Callable[[Connection[Any]], T]

AT_ONCE = 4
FRESH_S = 9.0
"""For so long an answer serves everybody who asks the same."""

_KEPT = 200


@dataclass(slots=True)
class _Answer:
    """What was answered, and when."""

    asked_at: float
    answer: asyncio.Future[Any]


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

    async def shared(self, key: Hashable, question: Question[T]) -> T:
        """As `ask`; whoever asks the same within FRESH_S gets the same answer."""
        now = monotonic()
        found = self._answers.get(key)
        if found is None or now - found.asked_at > FRESH_S:
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            found = self._answers[key] = _Answer(now, asyncio.ensure_future(self.ask(question)))
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
        """Return an idle connection that still answers, or a new one."""
        while self._idle:
            with suppress(IndexError, psycopg.Error):
                conn = self._idle.pop()
                conn.execute("select 1")
                return conn
        return database.connect(self._dsn(), "fastq dashboard")


def _close(idle: deque[database.Connection]) -> None:
    while idle:
        idle.pop().close()
