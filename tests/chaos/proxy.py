"""A TCP proxy that can go deaf: it stops forwarding, and neither end is told."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress

_CHUNK = 65536


class Conversation:
    """One client's connection, from its `port`, and the server's behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.port: int = client.get_extra_info("peername")[1]
        self.hearing = asyncio.Event()
        self.hearing.set()

    def cut(self) -> None:
        """Reset both ends, as a firewall or a keepalive does in the end."""
        for end in self.ends:
            end.transport.abort()
        self.hearing.set()


class Proxy:
    """Listens on `port` of localhost, forwards to where `target` says. Runs in a thread of its own."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._talking: set[Conversation] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0

    def open(self) -> None:
        """Start listening."""
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = listening.result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def deafen(self, rng: random.Random, share: float) -> list[Conversation]:
        """Stop forwarding in about a `share` of the conversations, at least one; returns them."""

        async def choose() -> list[Conversation]:
            talking = sorted(self._talking, key=id)
            chosen = rng.sample(talking, max(1, round(len(talking) * share))) if talking else []
            for conversation in chosen:
                conversation.hearing.clear()
            return chosen

        return asyncio.run_coroutine_threadsafe(choose(), self._loop).result(10)

    def hear(self, chosen: list[Conversation]) -> None:
        """Forward again, with what was held back first."""
        for conversation in chosen:
            self._loop.call_soon_threadsafe(conversation.hearing.set)

    def cut(self, chosen: list[Conversation]) -> None:
        """Reset deaf conversations."""
        for conversation in chosen:
            self._loop.call_soon_threadsafe(conversation.cut)

    def close(self) -> None:
        """Cut everything and stop. May be called twice."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for conversation in list(self._talking):
            conversation.cut()
        while self._pumps:
            await asyncio.wait(self._pumps)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        conversation = Conversation(writer, out)
        self._talking.add(conversation)
        try:
            await asyncio.gather(_pump(reader, out, conversation), _pump(there, writer, conversation))
        finally:
            self._talking.discard(conversation)
            conversation.cut()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, talk: Conversation) -> None:
    """Forward one direction until its end; a deaf conversation does not even forward that."""
    with suppress(OSError):
        while True:
            chunk = await _read(source)
            await talk.hearing.wait()
            if not chunk:
                break
            sink.write(chunk)
            await sink.drain()
    with suppress(OSError):
        sink.write_eof()


async def _read(source: asyncio.StreamReader) -> bytes:
    """Return what came; nothing at the end, however it came about."""
    try:
        return await source.read(_CHUNK)
    except OSError:
        return b""
