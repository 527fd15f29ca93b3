"""Producers while the server is away: a real server, stopped, started again and killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import fastq
from fastq import embedded
from fastq.schema import migrator

pytestmark = pytest.mark.e2e

PATIENCE_S = 60


class Server:
    """A private server that can be stopped and started."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.dsn = ""
        self.start()

    def start(self) -> None:
        """Start it; this process keeps it from then on."""
        self.dsn = embedded.ensure(self.base)

    def stop(self) -> None:
        """Stop it for good."""
        embedded.stop(self.base)

    def kill(self) -> None:
        """Kill it like a crash does; its keeper starts it again."""
        pid = embedded.status(self.base).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def numbers(self) -> list[int]:
        """Return the arguments of all jobs, in order."""
        with psycopg.connect(self.dsn) as conn:
            return [row[0] for row in conn.execute("select (payload->>'n')::int as n from fastq.job order by n")]


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a migrated server."""
    base = Path(tempfile.mkdtemp(prefix="fastq-test-outage-"))
    base.chmod(0o755)
    try:
        running = Server(base)
        with psycopg.connect(running.dsn, autocommit=True) as conn:
            migrator.migrate(conn)
        yield running
    finally:
        embedded.stop(base)
        embedded.release(base)
        shutil.rmtree(base, ignore_errors=True)


def app_of(dsn: str, retry_s: float = 0.0) -> tuple[fastq.App, fastq.Task[..., None]]:
    """Return an app with one task."""
    app = fastq.App(dsn, enqueue_retry_s=retry_s)

    @app.task(name="t")
    async def t(n: int) -> None: ...

    return app, t


async def test_without_retries_the_error_comes_at_once_and_is_true(server: Server) -> None:
    """A stopped server is named in every way of enqueueing, nothing is enqueued, and later it works again."""
    app, t = app_of(server.dsn)
    async with app, asyncio.timeout(PATIENCE_S):
        with app:
            await t.enqueue(n=0)
            await app.enqueue_many([t.job(n=1)])
            t.enqueue_sync(n=2)
            server.stop()
            for attempt in (t.enqueue(n=10), app.enqueue_many([t.job(n=11)])):
                with pytest.raises(fastq.DatabaseUnreachable, match=r"cannot connect .*; nothing was enqueued"):
                    await attempt
            with pytest.raises(fastq.DatabaseUnreachable, match="nothing was enqueued"):
                t.enqueue_sync(n=12)
            with pytest.raises(fastq.DatabaseUnreachable, match="nothing was enqueued"):
                app.enqueue_many_sync([t.job(n=13)])
            server.start()
            await t.enqueue(n=3)
            t.enqueue_sync(n=4)
    assert server.numbers() == [0, 1, 2, 3, 4]


async def test_with_retries_an_outage_is_waited_for(server: Server) -> None:
    """What is enqueued while the server is away is there once, after it has come back."""
    app, t = app_of(server.dsn, retry_s=PATIENCE_S)
    found: list[int] = []
    async with app, asyncio.timeout(PATIENCE_S):
        with app:
            await t.enqueue(n=0)
            t.enqueue_sync(n=1)
            server.stop()
            waiting = [asyncio.create_task(t.enqueue(n=n)) for n in range(2, 200)]
            waiting.append(asyncio.create_task(app.enqueue_many([t.job(n=n) for n in range(200, 300)])))  # type: ignore[arg-type]
            threads = [
                threading.Thread(target=lambda: found.append(t.enqueue_sync(n=300).id)),
                threading.Thread(target=lambda: found.extend(app.enqueue_many_sync([t.job(n=301)]))),
            ]
            for thread in threads:
                thread.start()
            done, _ = await asyncio.wait(waiting, timeout=0.5)
            assert not done
            assert not found
            await asyncio.to_thread(server.start)
            await asyncio.gather(*waiting)
            for thread in threads:
                await asyncio.to_thread(thread.join)
    assert len(found) == 2
    assert server.numbers() == list(range(302))


async def test_retries_end(server: Server) -> None:
    """When the server does not come back in time, each caller gets the error."""
    app, t = app_of(server.dsn, retry_s=0.3)
    async with app, asyncio.timeout(PATIENCE_S):
        with app:
            server.stop()
            errors = await asyncio.gather(*(t.enqueue(n=n) for n in range(10)), return_exceptions=True)
            assert {type(error) for error in errors} == {fastq.DatabaseUnreachable}
            with pytest.raises(fastq.DatabaseUnreachable, match="nothing was enqueued"):
                t.enqueue_sync(n=1)
    server.start()
    assert server.numbers() == []


async def test_what_is_said_about_a_job_is_true_when_the_server_is_killed(server: Server) -> None:
    """Through three crashes under load: jobs with an id exist, those said not to be enqueued do not."""
    app, t = app_of(server.dsn, retry_s=PATIENCE_S)
    there: set[int] = set()
    absent: set[int] = set()
    unknown: set[int] = set()
    crashes = 0
    numbers = iter(range(10**9))
    progress = asyncio.Condition()

    async def call() -> None:
        while crashes < 3:
            n = next(numbers)
            try:
                await t.enqueue(n=n)
                there.add(n)
                async with progress:
                    progress.notify_all()
            except fastq.EnqueueOutcomeUnknown:
                unknown.add(n)
            except fastq.FastqError:
                absent.add(n)

    async with app, asyncio.timeout(2 * PATIENCE_S):
        callers = [asyncio.create_task(call()) for _ in range(20)]
        for crash in range(3):
            enough = len(there) + 500
            async with progress:
                await progress.wait_for(lambda enough=enough: len(there) >= enough)  # type: ignore[misc]
            await asyncio.to_thread(server.kill)
            crashes = crash + 1
        await asyncio.gather(*callers)
    server.start()
    found = server.numbers()
    assert len(found) == len(set(found))
    assert there <= set(found) <= there | unknown
    assert not absent & set(found)
    assert len(unknown) <= 60


CONNECTING = """
import asyncio, sys
import fastq

app = fastq.App(sys.argv[1])

async def main():
    async with app:
        pass

if sys.argv[2] == "async":
    asyncio.run(main())
else:
    with app:
        pass
"""


@pytest.mark.parametrize("way", ["async", "sync"])
def test_ctrl_c_while_connecting(way: str) -> None:
    """A server that takes the connection and says nothing: Ctrl-C ends the program at once, without a hung pool."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} connect_timeout=300"
        child = subprocess.Popen([sys.executable, "-c", CONNECTING, dsn, way], stderr=subprocess.PIPE, text=True)
        try:
            silent.settimeout(PATIENCE_S)
            connection, _ = silent.accept()
            with connection:
                child.send_signal(signal.SIGINT)
                _, said = child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
            child.wait()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
    assert "ResourceWarning" not in said
