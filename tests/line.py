"""A line to the server that tests make long, deaf or broken: a proxy on localhost, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from psycopg import conninfo

T = TypeVar("T")

Server = str | tuple[str, int]
"""Where a server listens: the path of its socket, or host and port."""


def server_of(dsn: str) -> Server:
    """Return where the server of a DSN listens."""
    parts = conninfo.conninfo_to_dict(dsn)
    host, port = str(parts.get("host") or "127.0.0.1"), int(str(parts.get("port") or 5432))
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


class _End(asyncio.Protocol):
    """One end of a conversation: what comes in here goes out at the other end, in order."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._held: deque[bytes | None] = deque()  # None: it hung up
        self._due = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with what the other end has said by then."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._talk.other(self).flush()

    def data_received(self, data: bytes) -> None:
        """Hold it for its time."""
        if self._talk.may_pass(self, data):
            self._hold(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hang up at the other end, after all that was said."""
        self._hold(None)
        self._talk.lost(self)

    def pause_writing(self) -> None:
        """Take no more from the other end than leaves here."""
        self._reading("pause_reading")

    def resume_writing(self) -> None:
        """Go on."""
        self._reading("resume_reading")

    def _reading(self, what: str) -> None:
        other = self._talk.other(self).transport
        if other is not None and not other.is_closing():
            getattr(other, what)()

    def _hold(self, what: bytes | None) -> None:
        self._held.append(what)
        if self._talk.line.delay_s:
            asyncio.get_running_loop().call_later(self._talk.line.delay_s, self._let_go)
        else:
            self._let_go()

    def _let_go(self) -> None:
        self._due += 1
        self.flush()

    def flush(self) -> None:
        """Hand on what is due, unless the conversation is deaf, or the other end is not there yet."""
        sink = self._talk.other(self).transport
        while self._due and not self._talk.deaf and sink is not None:
            self._due -= 1
            what = self._held.popleft()
            if sink.is_closing():
                continue
            if what is None:
                sink.close()
            else:
                sink.write(what)


class Conversation:
    """One client's connection, from its `port`, and the server's behind it."""

    def __init__(self, line: Line, client: socket.socket, port: int) -> None:
        self.line = line
        self.deaf = False
        self.port = port
        self._client = _End(self)
        self._server = _End(self)
        self._lost: set[_End] = set()
        self._opening = asyncio.create_task(self._open(client))
        self._gone = asyncio.Event()

    def other(self, end: _End) -> _End:
        """Return the end across."""
        return self._server if end is self._client else self._client

    async def _open(self, client: socket.socket) -> None:
        loop, there = asyncio.get_running_loop(), self.line.server
        transport, _ = await loop.connect_accepted_socket(lambda: self._client, client)
        try:
            while True:
                try:
                    if isinstance(there, str):
                        await loop.create_unix_connection(lambda: self._server, there)
                    else:
                        await loop.create_connection(lambda: self._server, *there)
                    break
                except BlockingIOError:  # others are connecting: the server's queue is full for a moment
                    await asyncio.sleep(0.01)
        except OSError:
            transport.abort()
            self.lost(self._server)

    def may_pass(self, end: _End, data: bytes) -> bool:
        """Tell whether what came may be handed on: an answer that may not ends the conversation."""
        if end is self._server and not self.line.lets_back(data):
            self.hang_up()
            return False
        return True

    def lost(self, end: _End) -> None:
        """Forget the conversation when both ends are gone."""
        self._lost.add(end)
        if len(self._lost) == 2:
            self.line.talking.discard(self)
            self._gone.set()

    async def opened(self) -> None:
        """Wait until both ends are there, or it is known that the server's will not be."""
        await self._opening

    def hang_up(self) -> None:
        """Close both ends, after what was said."""
        for end in (self._client, self._server):
            if end.transport is not None:
                end.transport.close()

    def cut(self) -> None:
        """Reset both ends, as a firewall or a keepalive does in the end."""
        for end in (self._client, self._server):
            if end.transport is not None:
                end.transport.abort()

    def hear(self) -> None:
        """Be deaf no more: first comes what was held back."""
        self.deaf = False
        for end in (self._client, self._server):
            end.flush()

    async def ended(self) -> None:
        """End it, and wait until its connections are given back."""
        await self.opened()
        self.cut()
        await self._gone.wait()


class Line:
    """Listens on `port` of localhost and forwards to `server`; `dsn` leads through it. Use as a context manager.

    Each direction takes `delay_s`. `lets_back` is asked about each answer of the server: of one that may not come back,
    the conversation ends.
    """

    def __init__(self, dsn: str, *, delay_s: float = 0.0, lets_back: Callable[[bytes], bool] = lambda _: True) -> None:
        self.server = server_of(dsn)
        self.delay_s = delay_s
        self.lets_back = lets_back
        self.talking: set[Conversation] = set()
        self.port = 0
        self._dsn = dsn
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)

    def open(self) -> Self:
        """Start listening."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._let_in)
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dsn(self) -> str:
        """The DSN through this line."""
        return conninfo.make_conninfo(self._dsn, host="127.0.0.1", hostaddr=None, port=self.port)

    def deafen(self, choose: Callable[[list[Conversation]], list[Conversation]] = list) -> list[Conversation]:
        """Stop forwarding in all conversations of now, or in some of them; neither end is told. Returns them."""

        async def silence() -> list[Conversation]:
            chosen = choose(sorted(self.talking, key=lambda talk: talk.port))
            for talk in chosen:
                talk.deaf = True
            return chosen

        return self._wait(silence())

    def hear(self, chosen: list[Conversation]) -> None:
        """Forward again, with what was held back first."""
        for talk in chosen:
            self._loop.call_soon_threadsafe(talk.hear)

    def cut(self, chosen: list[Conversation]) -> None:
        """Reset conversations."""
        for talk in chosen:
            self._loop.call_soon_threadsafe(talk.cut)

    def shut(self) -> None:
        """Hang up everywhere, and let nobody in any more."""

        async def end() -> None:
            self._let_nobody_in()
            for talk in list(self.talking):
                await talk.opened()
                talk.hang_up()

        self._wait(end())

    def close(self) -> None:
        """Cut everything and give it back. May be called twice."""
        if self._thread.is_alive():
            self._wait(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def _let_in(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # who called has hung up
            client, address = self._listener.accept()
            self.talking.add(Conversation(self, client, port=address[1]))

    def _let_nobody_in(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def _end(self) -> None:
        self._let_nobody_in()
        for talk in list(self.talking):
            await talk.ended()

    def _wait(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)
