"""A very small HTTP server for the steward's few pages: GET and HEAD of fixed paths, one answer per connection.

Bounded on all sides: the size of a request, the time it may take, the number of connections. Who comes when there are
too many takes the place of the one that has been there longest: a probe sends its request at once, others may not.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from fastq.errors import UsageError

log = logging.getLogger("fastq.steward")

REQUEST_BYTES_MOST = 8192
REQUEST_TIMEOUT_S = 5.0
CONNECTIONS_MOST = 64
OPEN_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a page answers."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK
    allow: str = ""


Page = Callable[[], Response]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host is all interfaces; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that HOST:PORT, :PORT or [IPV6]:PORT names.

    Raises:
        UsageError: it is none of these.

    """
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and not bracketed):
        raise UsageError(f"{text!r} is not an address to listen on: use HOST:PORT, :PORT or [IPV6]:PORT (port 0: any)")
    return Address(host[1:-1] if bracketed else host, int(port))


class Http:
    """Serves `routes` (path to page) on `addr`."""

    def __init__(self, addr: str, routes: Mapping[str, Page]) -> None:
        self._addr = addr
        self._routes = dict(routes)
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def _pages(self) -> str:
        return ", ".join(sorted(self._routes))

    @property
    def port(self) -> int:
        """The port it listens on, once open."""
        if self._server is None:
            raise AssertionError("open() first")
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Listen.

        Raises:
            UsageError: it is not an address, or taken, or not ours.

        """
        at = parse_address(self._addr)
        try:
            self._server = await asyncio.start_server(
                self._connected, at.host or None, at.port, limit=REQUEST_BYTES_MOST
            )
        except OSError as exc:
            why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or str(exc)
            raise UsageError(f"cannot listen on {at}: {why}") from None
        log.info("serving %s on %s", self._pages, Address(at.host, self.port))

    async def run(self) -> None:
        """Serve until cancelled. While the address cannot be had, say so once and go on trying: jobs matter more."""
        told = False
        while self._server is None:
            try:
                await self.open()
            except UsageError as exc:
                if not told:
                    log.error("%s; the jobs run all the same, %s is tried again", exc, self._pages)  # noqa: TRY400
                told = True
                await asyncio.sleep(OPEN_EVERY_S)
        await self._server.serve_forever()

    async def close(self) -> None:
        """Stop listening and end what is being served. May be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= CONNECTIONS_MOST:
            longest = next(iter(self._serving))
            self._serving.pop(longest).transport.abort()
            longest.cancel()
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="fastq-http")
        self._serving[task] = writer
        task.add_done_callback(lambda done: self._serving.pop(done, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                method, response = await self._respond(reader)
                writer.write(encode(response, head_only=method == "HEAD"))
                await writer.drain()
                writer.write_eof()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, reader: asyncio.StreamReader) -> tuple[str, Response]:
        """Return the request's method and its answer."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "", plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "", plain(HTTPStatus.BAD_REQUEST)
        return words[0], self.answer(words[0], words[1])

    def answer(self, method: str, target: str) -> Response:
        """Return the answer to one request."""
        page = self._routes.get(target.partition("?")[0])
        if page is None:
            return plain(HTTPStatus.NOT_FOUND, f"there are: {', '.join(sorted(self._routes))}\n")
        if method not in ("GET", "HEAD"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")
        try:
            return page()
        except Exception:
            log.exception("the page %s failed", target)
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def plain(status: HTTPStatus, text: str = "", *, allow: str = "") -> Response:
    """Return an answer that says its status in words."""
    return Response(body=f"{status.value} {status.phrase}\n{text}".encode(), status=status, allow=allow)


def encode(response: Response, *, head_only: bool = False) -> bytes:
    """Return the bytes of an HTTP/1.1 response after which the connection is closed."""
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *([f"Allow: {response.allow}"] if response.allow else []),
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if head_only else response.body)
