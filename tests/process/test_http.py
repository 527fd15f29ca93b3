"""The steward's pages, while others hold its connections."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from fastq.steward.http import CONNECTIONS_MOST, Http, plain

pytestmark = pytest.mark.process

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(port: int) -> bytes:
    """Return the first line of the answer to a probe."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize("begun", [b"", b"GET /health HT"])
async def test_slow_clients_do_not_starve_a_probe(begun: bytes) -> None:
    """Of 150 that connect and send nothing, or half a request, the oldest give way; a probe is answered at once."""
    http = Http("127.0.0.1:0", {"/health": lambda: plain(HTTPStatus.OK)})
    await http.open()
    slow: list[Line] = []
    try:
        for _ in range(3):
            for _ in range(150):
                line = await asyncio.open_connection("127.0.0.1", http.port)
                line[1].write(begun)
                slow.append(line)
            assert await ask(http.port) == b"HTTP/1.1 200 OK\r\n"
        assert await asyncio.wait_for(slow[0][0].read(), 10) == b""
        assert len(http._serving) <= CONNECTIONS_MOST
    finally:
        for _, writer in slow:
            writer.transport.abort()
        await http.close()
