"""Opens a connection to one of several hosts. One that is frozen takes connections and says nothing: while it is waited
for, as a slow one has to be, the others are asked again and again, since any of them may become the primary meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import psycopg

from fastq.postgres.hosts import Hosts, Params, pauses

C = TypeVar("C", bound=psycopg.Connection[Any])
A = TypeVar("A", bound=psycopg.AsyncConnection[Any])


def connect(kind: type[C], hosts: Hosts) -> C:
    """Connect to the first of the hosts that takes us, in autocommit mode.

    Raises:
        psycopg.OperationalError: none does.

    """
    if not hosts.silent:
        try:
            return kind.connect(**hosts.in_turn(quickly=True), autocommit=True)
        except psycopg.OperationalError as exc:
            if _is_final(exc, hosts):
                raise
            forget(exc)
            hosts.note_silence()
    others = hosts.but_first()  # now: whoever else finds the primary makes that one the first
    slow = _Slow(lambda: kind.connect(**hosts.in_turn(quickly=False), autocommit=True))
    try:
        for pause_s in pauses(0.0):
            with _forgotten():
                return kind.connect(**others, autocommit=True)
            if (conn := slow.result(pause_s)) is not None:
                return conn
    finally:
        slow.give_up()
    raise AssertionError("there is always another pause")


async def connect_async(kind: type[A], hosts: Hosts) -> A:
    """As `connect`, asynchronous."""
    if not hosts.silent:
        try:
            return await kind.connect(**hosts.in_turn(quickly=True), autocommit=True)
        except psycopg.OperationalError as exc:
            if _is_final(exc, hosts):
                raise
            forget(exc)
            hosts.note_silence()
    others = hosts.but_first()
    slow = asyncio.create_task(_connect(kind, hosts.in_turn(quickly=False)), name="fastq-connect")
    conn: A | None = None
    try:
        for pause_s in pauses(0.0):
            with _forgotten():
                conn = await _connect(kind, others)
                return conn
            await asyncio.wait({slow}, timeout=pause_s)
            if slow.done():
                conn = slow.result()
                return conn
    finally:
        await _give_up(slow, conn)
    raise AssertionError("there is always another pause")


async def _connect(kind: type[A], params: Params) -> A:
    return await kind.connect(**params, autocommit=True)


async def _give_up(slow: asyncio.Task[A], taken: A | None) -> None:
    """End an attempt, and close its connection if it has one that is not the one taken."""
    slow.cancel()
    await asyncio.wait({slow})
    with suppress(asyncio.CancelledError, psycopg.Error):  # to look at it frees its socket, too
        if (conn := slow.result()) is not taken:
            await conn.close()


def forget(exc: psycopg.Error) -> None:
    """Free the socket of a connection that was not made.

    psycopg leaves it in a circle of frames and errors. Until a full collection of garbage found it, which may be never,
    the server would have an idle session of nobody.
    """
    traceback.clear_frames(exc.__traceback__)


@contextmanager
def _forgotten() -> Iterator[None]:
    """Suppress that a connection was not made."""
    try:
        yield
    except psycopg.OperationalError as exc:
        forget(exc)


def _is_final(exc: psycopg.OperationalError, hosts: Hosts) -> bool:
    """Tell whether more time would not help: there is one host, which had all of it, or each of several said no."""
    return len(hosts.places) == 1 or "timeout expired" not in str(exc)


class _Slow(Generic[C]):
    """A connection that a thread of its own makes; nobody has to wait for it."""

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._made: SimpleQueue[C | BaseException] = SimpleQueue()
        self._lock = threading.Lock()
        self._given_up = False
        threading.Thread(target=self._run, name="fastq-connect", daemon=True).start()

    def _run(self) -> None:
        made: C | BaseException
        try:
            made = self._make()
        except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
            made = exc
        with self._lock:
            if not self._given_up:
                self._made.put(made)
                return
        if isinstance(made, psycopg.Connection):
            made.close()

    def result(self, within_s: float) -> C | None:
        """Return the connection, None if it is not made in that time; raise what has kept it from being made."""
        try:
            made = self._made.get(timeout=within_s)
        except Empty:
            return None
        if isinstance(made, BaseException):
            raise made
        return made

    def give_up(self) -> None:
        """See to it that a connection that nobody has taken is closed, now or when it comes."""
        with self._lock:
            self._given_up = True
        with suppress(Empty):
            if isinstance(made := self._made.get_nowait(), psycopg.Connection):
                made.close()
