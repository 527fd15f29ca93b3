"""`fastq top` in a terminal of 80 by 24: what it shows, and what its keys do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from fastq.insights.words import short, span
from fastq.postgres import database
from fastq.top.screen import Jobs, Top

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]
PATIENCE = 500


@pytest.fixture
def top(dsn: str) -> Iterator[Top]:
    """Give the application."""
    alone = threading.Lock()
    with database.connect(dsn, "fastq top") as conn:

        def ask(question: Callable[[Any], Any]) -> Any:
            with alone:
                return question(conn)

        yield Top(ask)


async def until(pilot: Pilot[None], check: Callable[[], Any]) -> None:
    """Let the application go on until something holds."""
    for _ in range(PATIENCE):
        if check():
            return
        await pilot.pause(0.02)
    raise AssertionError("it never came")


async def test_queues_can_be_seen_and_paused(top: Top, db: Db) -> None:
    """A row for each; p pauses the one under the cursor, p again resumes it; what is in the name is no markup."""
    db.execute("select fastq.enqueue('t', queue => 'mail'), fastq.enqueue('t', queue => 'a[red]b')")
    async with top.run_test(size=(80, 24)) as pilot:
        table = top.query_one("#queues", DataTable)
        await until(pilot, lambda: table.row_count == 2)
        assert [str(cell) for cell in table.get_row_at(0)][:3] == ["a[red]b", "", "1"]
        await pilot.press("down", "p")
        await until(pilot, lambda: db.execute("select name, paused from fastq.queue").fetchall() == [("mail", True)])
        await until(pilot, lambda: table.get_row_at(1)[1] == "paused")
        await pilot.press("p")
        await until(pilot, lambda: db.execute("select paused from fastq.queue").fetchall() == [(False,)])


async def test_jobs_can_be_seen_and_steered(top: Top, db: Db) -> None:
    """Enter shows those of a queue with their errors; c cancels, r retries, d deletes, Escape goes back."""
    (job,) = db.execute("select fastq.enqueue('t', queue => 'mail')").fetchone() or (0,)

    def state() -> list[Any]:
        return [row[0] for row in db.execute("select state from fastq.job where id = %s", [job])]

    async with top.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: top.query_one("#queues", DataTable).row_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(top.screen, Jobs) and top.screen.query_one(DataTable).row_count == 1)
        for key, after in (("c", ["cancelled"]), ("r", ["ready"]), ("d", [])):
            await pilot.press(key)
            await until(pilot, lambda after=after: state() == after)
            await until(pilot, lambda key=key: "done" in str(top.screen.query_one("#said", Static).content))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(top.screen, Jobs))


async def test_a_running_job_tells_how_far_it_is(top: Top, db: Db) -> None:
    """In its row, with its words below; an argument that its task hides is hidden."""
    db.execute("insert into fastq.task (name, owner, redact) values ('t', 'a', '{password}')")
    db.execute(
        "insert into fastq.lease_0 (shard, id, worker, queue, priority, group_key, batch)"
        ' values (0, 1, 1, \'mail\', 4, \'\', \'[[5,"t",0,1,{"password":"hunter2","n":1}]]\')'
    )
    db.execute("insert into fastq.progress (shard, lease, ord, share, note) values (0, 1, 0, 0.4, 'resizing')")
    async with top.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: top.query_one("#queues", DataTable).row_count == 1)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(top.screen, Jobs) and top.screen.query_one(DataTable).row_count == 1)
        row = [str(cell) for cell in top.screen.query_one(DataTable).get_row_at(0)]
        assert row[:2] == ["5", "running 40%"]
        assert "•••" in row[-1]
        await until(pilot, lambda: "resizing" in str(top.screen.query_one("#said", Static).content))


async def test_a_database_that_goes_away_is_said(top: Top, db: Db) -> None:
    """In a line, and it goes on."""
    async with top.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "ready" in str(top.query_one("#tiles", Static).content))
        assert "ready 0" in str(top.query_one("#tiles", Static).content)


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (1234, "1.23k"), (3_100_000, "3.1M"), (0.25, "0.25")])
def test_numbers_are_short(value: float, text: str) -> None:
    """They have to fit."""
    assert short(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (5, "5s"), (300, "5m"), (9000, "2h"), (300_000, "3d")])
def test_spans_are_short(seconds: float | None, text: str) -> None:
    """They, too."""
    assert span(seconds) == text
