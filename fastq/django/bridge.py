"""Runs an ASGI application beside Django, in a thread with an event loop of its own, and gives Django its answers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


@dataclass(slots=True)
class Answer:
    """What the application answers: a status, headers, and the body, whole or as a stream that may never end."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None


class Bridge:
    """An ASGI application in a thread, which is started with the first request of each process."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def answer(self, scope: Message, body: bytes) -> Answer:
        """Return the answer to a request, once its head is there, and its body unless it is a stream."""
        loop = self._running()
        return asyncio.run_coroutine_threadsafe(self._answer(loop, scope, body), loop).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop, self._process = asyncio.new_event_loop(), os.getpid()
                threading.Thread(target=self._loop.run_forever, name="fastq-dashboard", daemon=True).start()
            return self._loop

    async def _answer(self, loop: asyncio.AbstractEventLoop, scope: Message, body: bytes) -> Answer:
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        left, begun, answer = asyncio.Event(), asyncio.Event(), Answer()
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                ]
                begun.set()
                return
            chunks.put_nowait(message.get("body", b""))
            if not message.get("more_body", False):
                chunks.put_nowait(None)

        running = loop.create_task(_whole(self._application(scope, receive, send), chunks), name="fastq-request")
        beginning = loop.create_task(begun.wait())
        await asyncio.wait({running, beginning}, return_when=asyncio.FIRST_COMPLETED)
        if not begun.is_set():
            beginning.cancel()
            await running
            raise RuntimeError("the dashboard gave no answer")
        if any(name == "content-type" and value.startswith("text/event-stream") for name, value in answer.headers):
            answer.stream = _stream(loop, chunks, left)
            return answer
        while (chunk := await chunks.get()) is not None:
            answer.body += chunk
        await running
        return answer


async def _whole(call: Awaitable[None], chunks: asyncio.Queue[bytes | None]) -> None:
    """Let whoever reads see the end, however the application ends."""
    try:
        await call
    finally:
        chunks.put_nowait(None)


async def _stream(
    loop: asyncio.AbstractEventLoop, chunks: asyncio.Queue[bytes | None], left: asyncio.Event
) -> AsyncIterator[bytes]:
    """Yield what comes, in the loop of whoever asks; tell the application when nobody asks any more."""
    try:
        while (chunk := await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(chunks.get(), loop))) is not None:
            yield chunk
    finally:
        loop.call_soon_threadsafe(left.set)
