"""The clients of an open app: for synchronous calls one in a process, for asynchronous ones one in each event loop.

Whoever opens an app that is open already shares its client, and the last one to leave closes it. A forked child finds
the app as open as it was, but has clients of its own: it never touches its parent's connections, nor what waits there.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fastq.client.asynchronous import AsyncClient
from fastq.client.synchronous import SyncClient
from fastq.config import ProducerConfig
from fastq.errors import NotOpen

_forks = [0]
"""How many forks there are between the first process and this one."""


def _count_fork() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def needs_open(what: str) -> NotOpen:
    """Return the error for a call on a closed app."""
    return NotOpen(f"{what}: the app is not open; use `async with app:` (or `with app:` in synchronous code)")


@dataclass(slots=True)
class _InLoop:
    """The client of one event loop, what closes it, and how many `async with` of that loop are around it."""

    client: AsyncClient
    end: AsyncGenerator[None, None]
    openings: int = 0


@dataclass(slots=True)
class _InProcess:
    """An app in one process: how many `async with` and `with` are around it, and its clients."""

    dsn: str = ""
    openings: int = 0
    sync_openings: int = 0
    in_loops: dict[asyncio.AbstractEventLoop, _InLoop] = field(default_factory=dict)
    sync_client: SyncClient | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def in_child(self) -> _InProcess:
        """Return the same without the clients."""
        return _InProcess(self.dsn, self.openings, self.sync_openings)


class Clients:
    """Opens and closes the clients of one app. `find` returns the DSN of its database, which may take long.

    `opens_itself`: the first call opens it, and nothing closes it but its connections, when nobody wants them.
    `suits`: the schema has been looked at already.
    """

    def __init__(
        self, config: ProducerConfig, find: Callable[[], str], *, opens_itself: bool = False, suits: bool = False
    ) -> None:
        self._config = replace(config, pool=replace(config.pool, keep=0)) if opens_itself else config
        self._find = find
        self._opens_itself = opens_itself
        self._suits = suits
        self._processes = {_forks[0]: _InProcess()}

    @property
    def _here(self) -> _InProcess:
        here = self._processes.get(_forks[0])
        if here is None:
            parent = self._processes[max(self._processes)]
            here = self._processes.setdefault(_forks[0], parent.in_child())
        return here

    def _find_unless_open(self, here: _InProcess) -> str:
        return here.dsn if here.openings or here.sync_openings else self._find()

    # -- for asynchronous calls

    @property
    def asynchronous(self) -> AsyncClient:
        """The client of the running event loop.

        Raises:
            NotOpen: the app is not open, or no event loop runs.

        """
        try:
            return self._processes[_forks[0]].in_loops[asyncio.get_running_loop()].client
        except KeyError:
            return self._first_in_loop()
        except RuntimeError:
            raise NotOpen(
                "an asynchronous call needs a running event loop; a child that a coroutine forked needs one of its own"
            ) from None

    def _first_in_loop(self) -> AsyncClient:
        here = self._here
        if not here.openings:
            if not self._opens_itself:
                raise needs_open("an asynchronous call")
            dsn = self._find_unless_open(here)
            with here.lock:
                here.dsn = dsn
                here.openings += 1
        return self._enter(here, asyncio.get_running_loop()).client

    def _enter(self, here: _InProcess, loop: asyncio.AbstractEventLoop) -> _InLoop:
        """Give the running loop a client. The loop closes it before it ends, or when nobody else refers to its end."""
        client = AsyncClient(here.dsn, self._config, suits=self._suits)
        end = _closing(here, loop, client)
        with suppress(StopIteration):
            end.__anext__().send(None)  # to its yield; from here on the loop knows it
        in_loop = here.in_loops[loop] = _InLoop(client, end)
        return in_loop

    async def open(self, *, connect: bool = True) -> None:
        """Open the app for asynchronous calls."""
        here, loop = self._here, asyncio.get_running_loop()
        dsn = await asyncio.to_thread(self._find_unless_open, here)
        with here.lock:
            here.dsn = dsn
            here.openings += 1
        in_loop = here.in_loops.get(loop) or self._enter(here, loop)
        in_loop.openings += 1
        if connect:
            try:
                await in_loop.client.open()
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Undo one `open`; the last one in this loop sends what waits and closes the client."""
        here = self._here
        in_loop = here.in_loops.get(asyncio.get_running_loop())
        with here.lock:
            here.openings = max(0, here.openings - 1)
            if not here.openings:
                here.in_loops = {}  # other loops, which did not open it, close theirs
        if in_loop is not None:
            in_loop.openings -= 1
            if in_loop.openings <= 0:
                await in_loop.end.aclose()

    # -- for synchronous calls

    @property
    def synchronous(self) -> SyncClient:
        """The client of this process.

        Raises:
            NotOpen: the app is not open.

        """
        here = self._here
        if not here.sync_openings:
            if not self._opens_itself:
                raise needs_open("a synchronous call")
            self.open_sync(connect=False)
        with here.lock:
            if here.sync_client is None:
                here.sync_client = SyncClient(here.dsn, self._config, suits=self._suits)
            return here.sync_client

    def open_sync(self, *, connect: bool = True) -> None:
        """Open the app for synchronous calls."""
        here = self._here
        dsn = self._find_unless_open(here)
        with here.lock:
            here.dsn = dsn
            here.sync_openings += 1
        if connect:
            try:
                self.synchronous.open()
            except BaseException:
                self.close_sync()
                raise

    def close_sync(self) -> None:
        """Undo one `open_sync`; the last one closes the client."""
        here = self._here
        with here.lock:
            here.sync_openings = max(0, here.sync_openings - 1)
            if here.sync_openings:
                return
            client, here.sync_client = here.sync_client, None
        if client is not None:
            client.close()


async def _closing(
    here: _InProcess, loop: asyncio.AbstractEventLoop, client: AsyncClient
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if (in_loop := here.in_loops.get(loop)) is not None and in_loop.client is client:
            del here.in_loops[loop]
        await client.close()
