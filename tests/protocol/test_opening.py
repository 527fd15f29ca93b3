"""A host of several that takes connections and says nothing keeps nobody from finding the one that becomes primary."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, closing

import pytest
from line import Line
from psycopg import conninfo

from fastq.errors import DatabaseUnreachable
from fastq.postgres import database
from fastq.postgres.database import AsyncConnection, Connection

pytestmark = [pytest.mark.protocol, pytest.mark.timeout(60)]

Connect = Callable[[str], Awaitable[AsyncConnection | Connection]]


async def connect_sync(dsn: str) -> Connection:
    """Connect as synchronous code does."""
    return await asyncio.to_thread(database.connect, dsn)


@pytest.fixture
async def silent() -> AsyncIterator[socket.socket]:
    """Give a listener whose kernel takes connections, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("connect", [database.connect_async, connect_sync], ids=["asynchronous", "synchronous"])
async def test_the_others_are_asked_while_a_silent_host_is_waited_for(
    dsn: str, silent: socket.socket, connect: Connect
) -> None:
    """It has an hour to answer; the other one, which takes nobody at first, is found by all as soon as it does."""
    loop = asyncio.get_running_loop()
    with Line(dsn) as line:
        server, line.server = line.server, ("127.0.0.1", 1)
        ports = f"{silent.getsockname()[1]},{line.port}"
        both = conninfo.make_conninfo(
            line.dsn, host="127.0.0.1,127.0.0.1", port=ports, connect_timeout=3600, target_session_attrs="read-write"
        )
        finding = asyncio.gather(connect(both), connect(both))
        with ExitStack() as held:
            for _ in range(4):  # each for a short time, then for a long one
                held.enter_context(closing((await loop.sock_accept(silent))[0]))
            line.server = server
            found = [*await finding, await connect(both)]
            for conn in found:
                assert conn.info.port == line.port
                if isinstance(conn, AsyncConnection):
                    await conn.close()
                else:
                    conn.close()


async def test_an_attempt_that_is_of_no_more_use_is_ended(dsn: str, silent: socket.socket) -> None:
    """No connection to the silent host is left behind."""
    loop = asyncio.get_running_loop()
    with Line(dsn) as line:
        ports = f"{silent.getsockname()[1]},{line.port}"
        both = conninfo.make_conninfo(line.dsn, host="127.0.0.1,127.0.0.1", port=ports, connect_timeout=3600)
        server, line.server = line.server, ("127.0.0.1", 1)
        finding = asyncio.create_task(database.connect_async(both))
        quick, _ = await loop.sock_accept(silent)
        slow, _ = await loop.sock_accept(silent)
        with closing(quick), closing(slow):
            line.server = server
            async with await finding:
                slow.setblocking(False)
                while await loop.sock_recv(slow, 4096):
                    pass


@pytest.mark.parametrize("connect", [database.connect_async, connect_sync], ids=["asynchronous", "synchronous"])
async def test_what_was_not_made_leaves_no_socket(silent: socket.socket, connect: Connect) -> None:
    """Not even until garbage is collected: a server that was slow would have a session of nobody."""
    loop = asyncio.get_running_loop()
    dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} user=u dbname=d connect_timeout=2"
    gc.disable()
    try:
        failing = asyncio.ensure_future(connect(dsn))
        theirs, _ = await loop.sock_accept(silent)
        with closing(theirs):
            with pytest.raises(DatabaseUnreachable):
                await failing
            theirs.setblocking(False)
            while await loop.sock_recv(theirs, 4096):  # until it has been closed
                pass
    finally:
        gc.enable()
