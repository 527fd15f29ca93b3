"""A database that is far away: a proxy on localhost that hands everything on after a delay, as a long line does."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from types import TracebackType

from psycopg import conninfo


class _Line(asyncio.Protocol):
    """One end of a conversation: what comes here leaves at the other end `delay_s` later, in order."""

    def __init__(self, delay_s: float, server: str | None = None) -> None:
        self._delay_s = delay_s
        self._server = server
        self._held: deque[bytes] = deque()
        self._opening: asyncio.Task[None] | None = None
        self.other: _Line | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; from the client's end, with the connection to the server."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._server is not None:
            transport.pause_reading()
            self._opening = asyncio.create_task(self._open(self._server))

    async def _open(self, server: str) -> None:
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, far = await loop.create_unix_connection(lambda: _Line(self._delay_s), server)
                break
            except BlockingIOError:  # others are connecting: the server's queue is full for a moment
                await asyncio.sleep(0.01)
        self.other, far.other = far, self
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Hold it for its time."""
        self._held.append(data)
        asyncio.get_running_loop().call_later(self._delay_s, self._hand_on)

    def _hand_on(self) -> None:
        data = self._held.popleft()
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hang up at the other end, after all that was said."""
        if self.other is not None and self.other.transport is not None:
            asyncio.get_running_loop().call_later(self._delay_s, self.other.transport.close)


class Distance:
    """Use as a context manager, which gives the DSN: whoever connects to that waits `trip_s` for each answer."""

    def __init__(self, dsn: str, trip_s: float) -> None:
        self._dsn = dsn
        parts = conninfo.conninfo_to_dict(dsn)
        self._server = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        self._delay_s = trip_s / 2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="distance", daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        listen = self._loop.create_server(lambda: _Line(self._delay_s, self._server), "127.0.0.1", 0)
        self._listener = asyncio.run_coroutine_threadsafe(listen, self._loop).result(10)
        port = self._listener.sockets[0].getsockname()[1]
        return conninfo.make_conninfo(self._dsn, host="127.0.0.1", port=port)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._listener.close)
        self._loop.call_soon_threadsafe(self._loop.call_later, 4 * self._delay_s + 0.05, self._loop.stop)
        self._thread.join(10)
        self._loop.close()
