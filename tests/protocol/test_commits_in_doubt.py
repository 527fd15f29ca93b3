"""The answer to a commit is lost: the jobs are there, and no way of enqueueing may say that they are not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

import fastq

pytestmark = pytest.mark.protocol

STREAM = 1000
"""More than what an INSERT takes: a stream of so many goes by COPY."""

Ways = dict[str, tuple[int, Callable[[fastq.App, Any], Awaitable[Any]]]]


class Forgetful:
    """A line to the server that breaks as soon as the answer to a commit wants to come back: when `jobs` are there."""

    def __init__(self, dsn: str, jobs: int) -> None:
        parts = conninfo.conninfo_to_dict(dsn)
        self._server = f"{parts['host']}/.s.PGSQL.{parts['port']}"
        self._jobs = jobs
        self._look = psycopg.connect(dsn, autocommit=True)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self.broke = False
        self.dsn = conninfo.make_conninfo(dsn, host="127.0.0.1", port=self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._server)
                self._open += [here, there]
                threading.Thread(target=self._pump, args=(here, there), daemon=True).start()
                threading.Thread(target=self._answer, args=(there, here), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                sink.sendall(chunk)

    def _answer(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass answers on, but not the one that comes when the jobs are there: the server commits before it answers."""
        with suppress(OSError):
            while chunk := source.recv(65536):
                if self._is_done():
                    for end in (source, sink):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(chunk)

    def _is_done(self) -> bool:
        with self._lock:
            row = self._look.execute("select coalesce(sum(coalesce(jobs, 1)), 0) from fastq.ready").fetchone()
            self.broke = self.broke or (row is not None and row[0] >= self._jobs)
            return self.broke

    def close(self) -> None:
        """Hang up."""
        for end in self._open:
            end.close()
        self._look.close()


WAYS: Ways = {
    "one": (1, lambda app, t: app.enqueue(t.job(n=1))),
    "a few": (20, lambda app, t: app.enqueue_many([t.job(n=n) for n in range(20)])),
    "a stream": (STREAM, lambda app, t: app.enqueue_many(t.job(n=n) for n in range(STREAM))),
    "unique": (1, lambda app, t: app.enqueue(t.options(unique_key="k").job(n=1))),
    "ordered": (1, lambda app, t: app.enqueue(t.options(ordered=True).job(n=1))),
    "one, in a thread": (1, lambda app, t: asyncio.to_thread(app.enqueue_sync, t.job(n=1))),
    "a few, in a thread": (
        20,
        lambda app, t: asyncio.to_thread(app.enqueue_many_sync, [t.job(n=n) for n in range(20)]),
    ),
    "a stream, in a thread": (
        STREAM,
        lambda app, t: asyncio.to_thread(app.enqueue_many_sync, [t.job(n=n) for n in range(STREAM)]),
    ),
}


@pytest.fixture(params=WAYS, ids=lambda way: way.replace(", ", " ").replace(" ", "-"))
def way(request: pytest.FixtureRequest, dsn: str) -> Iterator[tuple[Forgetful, int, Any]]:
    """Give a line that breaks behind the commit, how many jobs, and how they are enqueued."""
    count, call = WAYS[request.param]
    line = Forgetful(dsn, count)
    yield line, count, call
    line.close()


@pytest.mark.parametrize("retry_s", [0.0, 30.0], ids=["at once", "patient"])
async def test_a_commit_without_an_answer_is_in_doubt(way: Any, dsn: str, retry_s: float) -> None:
    """The error says that nobody knows; the jobs are there, once, also where outages are waited out."""
    line, count, call = way
    app = fastq.App(line.dsn, enqueue_retry_s=retry_s)

    @app.task(name="t")
    async def t(n: int) -> None: ...

    async with app:
        with app, pytest.raises(fastq.EnqueueOutcomeUnknown, match="may or may not be there"):
            await call(app, t)
    assert line.broke
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select count(*) from fastq.job").fetchone() == (count,)
