"""The page in real life: many who watch it, a real server, a real browser."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn

import fastq.dashboard
from fastq.dashboard import asker, pages, site
from fastq.postgres import database

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@asynccontextmanager
async def serving(dsn: str, **options: Any) -> AsyncIterator[str]:
    """Serve the dashboard on a free port; gives its address."""
    config = uvicorn.Config(
        fastq.dashboard.asgi(dsn, **options), port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serve = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_S):
        while not server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serve
        for connection in list(server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await asyncio.sleep(0)
        gc.collect()  # what is left open shows here, and not in somebody else's test


async def test_whoever_looks_at_the_same_shares_the_questions(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty viewers get what has changed, and the database is asked as for one."""
    asked: list[int] = []
    real = pages.PAGES["/queues"]

    def counted(conn: Any, query: pages.Query) -> dict[str, Any]:
        asked.append(1)
        return real.show(conn, query)

    monkeypatch.setitem(pages.PAGES, "/queues", pages.Page(real.template, real.title, counted, key="q"))
    monkeypatch.setattr(site, "EVERY_S", 0.3)
    monkeypatch.setattr(asker, "FRESH_S", 0.3)
    monkeypatch.setattr(asker, "STATEMENTS_PER_S", 1e9)
    changed = asyncio.Event()
    first = 0

    async def watch(client: httpx.AsyncClient) -> None:
        nonlocal first
        async with client.stream("GET", "/events?page=/queues") as stream:
            async for line in stream.aiter_lines():
                if "queue" in line and not changed.is_set():
                    first += 1
                    if first == 50:
                        changed.set()
                if "newcomer" in line:
                    return

    async with serving(dsn) as address, httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) as client:
        client._limits = httpx.Limits(max_connections=None)  # type: ignore[attr-defined]
        clients = [httpx.AsyncClient(base_url=address, timeout=PATIENCE_S) for _ in range(50)]
        watching = [asyncio.create_task(watch(each)) for each in clients]
        await asyncio.wait_for(changed.wait(), PATIENCE_S)
        before = len(asked)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("select fastq.pause('newcomer')")
        await asyncio.wait_for(asyncio.gather(*watching), PATIENCE_S)
        for each in clients:
            await each.aclose()
    assert 1 <= before < 25
    assert len(asked) < 50


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
async def test_a_browser_runs_nothing_that_a_stranger_has_written(dsn: str) -> None:
    """Script tags in every field of a job; the page itself works, and its own script has run."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        errors = json.dumps([{"type": EVIL, "message": EVIL, "traceback": EVIL, "attempt": 1, "at": EVIL}])
        (job,) = conn.execute(
            "insert into fastq.finished"
            " (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)"
            " values (0, 77, 'failed', 4, 1, 1, %s, %s, %s, json_build_object('x', %s::text),"
            " json_build_object('errors', %s::json)) returning id",
            [EVIL, EVIL, EVIL, EVIL, errors],
        ).fetchone() or (0,)
    async with serving(dsn) as address:
        for path in (f"/job?id={job}", "/jobs?state=failed", "/"):
            dom = await asyncio.to_thread(browse, address + path)
            assert "<title>owned</title>" not in dom
            assert "· fastq</title>" in dom
    assert "&lt;script&gt;document" in dom or "owned" not in dom


def browse(url: str) -> str:
    """Return a page as a browser has it after it has run its scripts; it may reach this host only."""
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", url]
    command[4:4] = ["--proxy-server=127.0.0.1:9", "--proxy-bypass-list=127.0.0.1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def run(dsn: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command of fastq."""
    command = [sys.executable, "-m", "fastq", *args, "--dsn", dsn]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_listens_on_this_host_alone_without_a_token(dsn: str) -> None:
    """Elsewhere others could reach it."""
    ran = run(dsn, "dashboard", "--host", "0.0.0.0")
    assert ran.returncode == 2
    assert "give --token" in ran.stderr


def test_doctor(dsn: str) -> None:
    """Its exit code says whether something is wrong; --json has it for programs; a missing schema is a finding."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select fastq.enqueue('t'), fastq.pause('default')")
    ran = run(dsn, "doctor")
    assert ran.returncode == 1
    assert "F150 the queue default is paused and has 1 job" in ran.stdout
    assert "fastq queues resume default" in ran.stdout
    found = json.loads(run(dsn, "doctor", "--json").stdout)["findings"]
    assert "F150" in [each["code"] for each in found]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("drop schema fastq cascade")
    ran = run(dsn, "doctor")
    assert (ran.returncode, "F100" in ran.stdout) == (1, True)


def test_check(dsn: str, tmp_path: Any) -> None:
    """For probes: the database and its schema, and whether workers of this host run."""
    assert run(dsn, "check").returncode == 0
    assert run(dsn, "check", "--ready").returncode == 1
    assert run(dsn, "check", "--live").returncode == 0
    worker = "insert into fastq.worker (shard, id, host, pid, expires_at) select 0, 1, %s, 2, now() + %s::interval"
    import socket

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(worker, [socket.gethostname(), "1 hour"])
        assert run(dsn, "check", "--ready").returncode == 0
        conn.execute("update fastq.worker set expires_at = now() - interval '1 minute'")
        assert [run(dsn, "check", option).returncode for option in ("--ready", "--live")] == [1, 1]
        conn.execute("delete from fastq.migration where version = (select max(version) from fastq.migration)")
        assert run(dsn, "check").returncode == 4
    wrong = run("nonsense", "check")
    assert (wrong.returncode, "neither a postgresql:// URL" in wrong.stderr) == (2, True)
    away = f"host={tmp_path} dbname=x"
    assert [run(away, "check", *option).returncode for option in ((), ("--ready",), ("--live",))] == [3, 3, 0]


async def test_the_database_is_asked_two_statements_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more is looked at that is not the same, the longer it lasts; what nobody wants any more does not count."""
    clock = [1000.0]
    monkeypatch.setattr(asker, "monotonic", lambda: clock[0])
    asked: list[float] = []

    async def answer(question: Any) -> float:
        asked.append(clock[0])
        return clock[0]

    found = asker.Asker(lambda: "")
    monkeypatch.setattr(found, "ask", answer)
    for _ in range(100):
        for page in range(4):
            await found.shared(page, lambda conn: None, statements=20)
        clock[0] += 1
    assert found.fresh_s == 40.0
    assert len(asked) * 20 <= 2 * 100 + 4 * 20  # all are asked once to begin with
    clock[0] += 100
    await found.shared(0, lambda conn: None, statements=20)
    assert found.fresh_s == 10.0


@pytest.mark.parametrize("path", pages.PAGES)
def test_pages_say_how_many_statements_they_take(dsn: str, path: str) -> None:
    """No fewer than they do, but for what a connection needs around them."""
    sent = 0

    class Counted(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **options: Any) -> Any:
            nonlocal sent
            sent += 1
            return super().execute(*args, **options)

    with database.connect(dsn) as conn:
        conn.cursor_factory = Counted
        with suppress(pages.NotThere):
            pages.PAGES[path].show(conn, {"id": "1"})
    assert sent <= pages.PAGES[path].statements - 2
