"""The page in a real browser: each page and each action, light and dark, on a telephone and on a desk."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import fastq.dashboard
from fastq.dashboard import asker, pages, site

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(BROWSER is None, reason="no chromium")]

Db = psycopg.Connection[Any]
LOOKS = [(390, 844, "light"), (390, 844, "dark"), (1440, 900, "light"), (1440, 900, "dark")]
PATIENCE_MS = 20_000
ABORTED = "net::ERR_ABORTED"
"""By the next page that somebody goes to."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a browser that reaches this host only."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-gpu"],
            proxy={"server": "http://127.0.0.1:9", "bypass": "127.0.0.1"},
        )
        yield found
        found.close()


@pytest.fixture
def address(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the address of a dashboard, which looks again and again without delay."""
    monkeypatch.setattr(site, "EVERY_S", 0.2)
    monkeypatch.setattr(asker, "FRESH_S", 0.1)
    monkeypatch.setattr(asker, "STATEMENTS_PER_S", 1e9)
    with serving(dsn) as found:
        yield found


@contextmanager
def serving(dsn: str, **options: Any) -> Iterator[str]:
    """Serve a dashboard in a thread."""
    config = uvicorn.Config(
        fastq.dashboard.asgi(dsn, **options), port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def looking(browser: Browser, look: tuple[int, int, Any], **options: Any) -> Iterator[Page]:
    """Give a page of that size and in those colours; it has no errors, and asks no other host for anything."""
    width, height, scheme = look
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, **options
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url) if request.failure != ABORTED else None)
    page.on("request", lambda request: wrong.append(request.url) if "//127.0.0.1:" not in request.url else None)
    page.on("dialog", lambda dialog: dialog.accept())
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def fill(db: Db) -> int:
    """Put something of everything there; returns the id of a failed job."""
    db.execute("select fastq.enqueue('shop.mail', json_build_object('n', n), 'mail') from generate_series(1, 5) n")
    db.execute("select fastq.enqueue('shop.later', '{\"n\": 1}', 'mail', delay => '1 hour')")
    db.execute(
        "select fastq.enqueue('shop.line', '{}', group_key => 'acme', ordered => true) from generate_series(1, 3)"
    )
    errors = '[{"type": "ValueError", "message": "no", "traceback": "line 1", "attempt": 1, "at": "2026-01-01"}]'
    failed = db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) select 0, nextval('fastq.pos'), 'failed', 4, 1, 1, 'mail', '', 'shop.mail', '{\"n\": 1}',"
        " json_build_object('errors', %s::json) from generate_series(1, 3) returning id",
        [errors],
    ).fetchall()
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, expires_at, counters, about) values"
        " (0, 7, 'h', 2, now() + '1 hour', '{\"running\": 1, \"memory_bytes\": 5000000}', '{\"concurrency\": 100}')"
    )
    db.execute("select fastq.set_schedule('nightly', '0 3 * * *', 'shop.report', '{\"n\": 1}')")
    db.execute(
        "insert into fastq.history (at, span_s, succeeded, ready)"
        " select date_trunc('minute', now()) - interval '1 min' * n, 60, 9, n from generate_series(0, 9) n"
    )
    db.execute(
        "insert into fastq.task_history (at, span_s, queue, task, succeeded, ran, waited) select"
        " date_trunc('minute', now()) - interval '1 min' * n, 60, 'mail', 'shop.mail', 9, '{0,3,2}', '{9}'"
        " from generate_series(0, 9) n"
    )
    return int(failed[0][0])


def paths(job: int) -> dict[str, str]:
    """Return a way to each page."""
    more = {"/job": f"?id={job}", "/queue": "?name=mail", "/task": "?task=shop.mail"}
    return {path: path + more.get(path, "") for path in pages.PAGES}


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_each_page(browser: Browser, address: str, db: Db, look: tuple[int, int, Any]) -> None:
    """It is there, fits the width of the screen, and has the colours that were asked for."""
    ways = paths(fill(db))
    with looking(browser, look) as page:
        for path, way in ways.items():
            answer = page.goto(address + way)
            assert answer is not None
            assert answer.status == 200
            expect(page).to_have_title(f"{pages.PAGES[path].title} · fastq")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, way
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
            assert dark == (look[2] == "dark")
        page.goto(address + ways["/task"])
        assert page.locator("svg path").count() >= 6


def test_it_can_be_read_without_scripts(browser: Browser, address: str, db: Db) -> None:
    """Every page, and a form."""
    ways = paths(fill(db))
    with looking(browser, LOOKS[2], java_script_enabled=False) as page:
        for path, way in ways.items():
            page.goto(address + way)
            expect(page.locator("h1")).to_be_visible()
            assert pages.PAGES[path].title in page.title()
        page.goto(address + "/queue?name=mail")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("h1 .tag")).to_have_text("paused")


# -- actions


def count(db: Db, where: str) -> int:
    """Return how many jobs fit."""
    row = db.execute(f"select count(*) from fastq.job where {where}".encode()).fetchone()
    return int(row[0]) if row else 0


def choose(page: Page, address: str, where: str, number: int = 1) -> None:
    """Go to some jobs and tick the first of them."""
    page.goto(f"{address}/jobs?{where}")
    for place in range(number):
        page.locator("tbody input[type=checkbox]").nth(place).check()


def _retry(page: Page, address: str, db: Db) -> bool:
    choose(page, address, "state=failed")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("retry: 1")
    return count(db, "state = 'failed'") == 2


def _cancel(page: Page, address: str, db: Db) -> bool:
    choose(page, address, "state=ready&q=queue:mail", 2)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("cancel: 2")
    return count(db, "state = 'cancelled'") == 2


def _delete(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/jobs?state=failed")
    page.locator("[data-all]").check()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("delete: 3")
    return count(db, "state = 'failed'") == 0


def _run_now(page: Page, address: str, db: Db) -> bool:
    choose(page, address, "state=scheduled")
    page.get_by_role("button", name="Run now", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("now: 1")
    return count(db, "task = 'shop.later' and state = 'ready'") == 1


def _move(page: Page, address: str, db: Db) -> bool:
    choose(page, address, "state=ready&q=queue:mail")
    page.get_by_label("Queue", exact=True).fill("slow")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("move: 1")
    return count(db, "queue = 'slow'") == 1


def _priority(page: Page, address: str, db: Db) -> bool:
    choose(page, address, "state=ready&q=queue:mail")
    page.get_by_label("Priority", exact=True).fill("1")
    page.get_by_role("button", name="Priority", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("priority: 1")
    return count(db, "priority = 1") == 1


def _edit(page: Page, address: str, db: Db) -> bool:
    row = db.execute("select id from fastq.job where state = 'ready' and queue = 'mail' limit 1").fetchone()
    assert row
    page.goto(f"{address}/job?id={row[0]}")
    page.get_by_text("Change them").click()
    page.get_by_label("Arguments").fill('{"n": 99}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("edit: 1")
    return count(db, "payload ->> 'n' = '99' and state = 'ready'") == 1


def _retry_with_others(page: Page, address: str, db: Db) -> bool:
    row = db.execute("select id from fastq.job where state = 'failed' limit 1").fetchone()
    assert row
    page.goto(f"{address}/job?id={row[0]}")
    page.get_by_text("Retry with others").click()
    page.get_by_label("Arguments").fill('{"n": 98}')
    page.locator("details button").click()
    expect(page.get_by_role("status")).to_contain_text("edited: 1")
    return count(db, "payload ->> 'n' = '98' and state = 'ready'") == 1


def all_of_them(action: str, where: str, then: str, *fields: tuple[str, str]) -> Callable[[Page, str, Db], bool]:
    """Return what does a mass action: it asks first, says how many, and shows its progress."""

    def act(page: Page, address: str, db: Db) -> bool:
        page.goto(f"{address}/jobs?{where}")
        for label, value in fields:
            page.get_by_label(label).fill(value)
        page.get_by_role("button", name=action, exact=True).click()
        expect(page.locator("h1")).to_contain_text("all that fit?")
        text = page.locator("main b").first.inner_text()
        assert int(text.replace(",", "")) > 0
        page.get_by_role("button", name="Do it").click()
        expect(page.locator(".mass").first).to_contain_text("done")
        return count(db, then) == 0

    return act


def _pause(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/queues")
    page.locator("details summary", has_text="mail").click()
    page.locator("details[open]").get_by_role("button", name="Pause").click()
    expect(page.locator("tr", has_text="mail").locator(".tag")).to_have_text("paused")
    page.locator("details summary", has_text="mail").click()
    page.locator("details[open]").get_by_role("button", name="Resume").click()
    expect(page.locator("tr", has_text="mail").locator(".tag")).to_have_count(0)
    return True


def _limits(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/queue?name=mail")
    page.get_by_role("textbox", name="running", exact=True).fill("3")
    page.get_by_role("textbox", name="per second").fill("2.5")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("textbox", name="running", exact=True)).to_have_value("3")
    return db.execute("select max_running, rate from fastq.queue where name = 'mail'").fetchall() == [(3, 2.5)]


def _purge(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/queue?name=mail")
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_role("status")).to_contain_text("purge: 6")
    return count(db, "queue = 'mail' and state in ('ready', 'scheduled')") == 0


def _schedules(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/schedules")
    page.get_by_text("Set a schedule").click()
    for label, value in (
        ("name", "weekly"),
        ("when", "0 7 * * MON"),
        ("task", "shop.report"),
        ("arguments", '{"n": 2}'),
    ):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Set", exact=True).click()
    row = page.locator("tr", has_text="weekly")
    expect(row).to_contain_text("0 7 * * MON")
    row.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_contain_text("run")
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".tag")).to_have_text("paused")
    row.get_by_role("button", name="Resume").click()
    expect(row.locator(".tag")).to_have_text("on")
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    return count(db, "task = 'shop.report' and payload ->> 'n' = '2'") == 1


def _drain(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/workers")
    page.get_by_role("button", name="Drain").click()
    expect(page.get_by_role("status")).to_contain_text("drain")
    return db.execute("select draining from fastq.worker").fetchall() == [(True,)]


def _resize(page: Page, address: str, db: Db) -> bool:
    page.goto(f"{address}/workers")
    page.get_by_text("Resize", exact=True).first.click()
    page.get_by_label("processes").fill("3")
    page.get_by_role("button", name="Resize").click()
    expect(page.get_by_role("status")).to_contain_text("resize")
    return db.execute("select resize ->> 'processes', resize ->> 'concurrency' from fastq.worker").fetchall() == [
        ("3", None)
    ]


MAIL = "state=ready&q=queue:mail"
ACTIONS: dict[str, Callable[[Page, str, Db], bool]] = {
    "retry": _retry,
    "cancel": _cancel,
    "delete": _delete,
    "run now": _run_now,
    "move": _move,
    "priority": _priority,
    "edit": _edit,
    "retry with other arguments": _retry_with_others,
    "retry all": all_of_them("Retry all", "state=failed", "state = 'failed'"),
    "run all now": all_of_them("Run all now", "state=scheduled", "state = 'scheduled' and run_at > now()"),
    "cancel all": all_of_them("Cancel all", MAIL, "state = 'ready' and queue = 'mail'"),
    "delete all": all_of_them("Delete all", "state=failed", "state = 'failed'"),
    "move all": all_of_them(
        "Move all", "state=ready&q=queue:mail", "queue = 'mail' and state = 'ready'", ("To queue", "x")
    ),
    "priority of all": all_of_them(
        "Priority of all",
        "state=ready&q=queue:mail",
        "queue = 'mail' and state = 'ready' and priority <> 2",
        ("To priority", "2"),
    ),
    "pause and resume": _pause,
    "limits": _limits,
    "purge": _purge,
    "schedules": _schedules,
    "drain": _drain,
    "resize": _resize,
}


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_each_action(browser: Browser, address: str, db: Db, look: tuple[int, int, Any]) -> None:
    """It is done, the page says so, and the audit has it."""
    with looking(browser, look) as page:
        for name, act in ACTIONS.items():
            db.execute(
                "truncate fastq.ready, fastq.scheduled, fastq.finished, fastq.worker, fastq.cron, fastq.line,"
                " fastq.head, fastq.queue, fastq.history, fastq.task_history, fastq.audit"
            )
            fill(db)
            assert act(page, address, db), name
            row = db.execute("select count(*) from fastq.audit").fetchone()
            assert row
            assert row[0] >= 1, name


def test_keys(browser: Browser, address: str, db: Db) -> None:
    """g and a letter goes to a page, / searches, j, k and x walk through a table and choose, Enter opens."""
    fill(db)
    with looking(browser, LOOKS[2]) as page:
        page.goto(address)
        page.keyboard.press("g")
        page.keyboard.press("j")
        expect(page).to_have_title("Jobs · fastq")
        page.keyboard.press("/")
        page.keyboard.type("state:failed")
        page.keyboard.press("Enter")
        expect(page.locator("tbody tr")).to_have_count(3)
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator("tbody input[type=checkbox]").nth(1)).to_be_checked()
        page.keyboard.press("x")
        page.keyboard.press("Enter")
        expect(page).to_have_title("Job · fastq")


def test_what_changes_shows_without_a_reload(browser: Browser, address: str, db: Db) -> None:
    """And nothing is taken away from whoever has begun to choose."""
    fill(db)
    with looking(browser, LOOKS[2]) as page:
        page.goto(f"{address}/jobs?state=ready&q=queue:other")
        expect(page.locator("tbody")).to_contain_text("No job fits")
        db.execute("select fastq.enqueue('shop.new', '{}', 'other')")
        expect(page.locator("tbody")).to_contain_text("shop.new")
        page.locator("tbody input[type=checkbox]").check()
        db.execute("select fastq.enqueue('shop.newer', '{}', 'other')")
        with looking(browser, LOOKS[2]) as another:
            another.goto(f"{address}/jobs?state=ready&q=queue:other")
            expect(another.locator("tbody")).to_contain_text("shop.newer")
            db.execute("select fastq.enqueue('shop.newest', '{}', 'other')")
            expect(another.locator("tbody")).to_contain_text("shop.newest")
        expect(page.locator("tbody input[type=checkbox]")).to_be_checked()
