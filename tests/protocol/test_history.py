"""The history: what hosts add up, what stands in queues, and how it is forgotten."""

from __future__ import annotations

import psycopg
import pytest
from scene import LANE, Conn, ask, hire, put, take

from fastq.host.board import Board, Word
from fastq.host.series import WORDS, Count, Counted, SeriesTable
from fastq.insights import history as read
from fastq.observability.totals import Totals
from fastq.postgres.link import Link
from fastq.protocol import history
from fastq.protocol.history import Depth
from fastq.protocol.shards import Shards
from fastq.states import CellState
from fastq.steward import historian
from fastq.steward.historian import Depths, Historian

pytestmark = pytest.mark.protocol


def counted(jobs: int = 0, *, ended: int = 0, longer: dict[int, int] | None = None) -> Counted:
    """Return what was counted of a series: so many jobs claimed, so many that ended well, longer ones by bucket."""
    words = [0] * WORDS
    words[Count.CLAIMED], words[Count.SUCCEEDED] = jobs, ended
    for bucket, runs in (longer or {}).items():
        words[len(Count) + bucket] = runs
    return Counted(words)


async def test_two_hosts_add_to_the_same_minute(conn: Conn, dsn: str) -> None:
    """What each counts is added to the rows of its queues and tasks, and to that of the fleet."""
    await history.record_counts(conn, {("q", "t"): counted(10, ended=8, longer={3: 2}), ("q", "u"): counted(1)})
    await history.record_counts(conn, {("q", "t"): counted(5, ended=5, longer={5: 1})})
    with psycopg.connect(dsn) as look:
        (fleet,), (queue,) = read.whole(look), read.whole(look, queue="q")
        tasks = read.by_task(look)
        (at,) = read.of_task(look, "t", queue="q")
        (hour,) = read.whole(look, seconds=7 * 86_400)
        hours = read.by_task(look, seconds=7 * 86_400)
    assert (fleet.claimed, fleet.succeeded, hour.claimed, queue.claimed) == (16, 13, 16, 16)
    assert fleet.ran == queue.ran == at.ran
    assert [(row.queue, row.task, row.claimed) for row in tasks] == [("q", "t", 15), ("q", "u", 1)]
    assert [(row.queue, row.task, row.claimed) for row in hours] == [("q", "t", 15), ("q", "u", 1)]
    assert (at.claimed, at.ended, list(at.ran[:6])) == (15, 13, [10, 0, 0, 2, 0, 1])
    assert (at.ran_s(0.5), at.ran_s(1.0)) == (pytest.approx(0.00065), 0.032)


async def test_a_host_adds_what_its_workers_counted_and_nothing_twice(conn: Conn, dsn: str) -> None:
    """Through workers that end and whose cells others take over."""
    board, totals, link = Board(cells=2, running=1), Totals(), Link(dsn, "fastq test")
    one, two = board.cells
    await link.open()
    one[Word.PID], one[Word.STATE] = 11, CellState.RUNNING
    SeriesTable(one.series).of("q", "t").add(Count.SUCCEEDED, 5)
    host = Historian(board, totals, link)  # the workers were faster than it was
    await host.step()
    SeriesTable(one.series).of("q", "t").add(Count.SUCCEEDED, 2)
    two[Word.PID], two[Word.STATE] = 12, CellState.RUNNING
    SeriesTable(two.series).of("q", "t").add(Count.FAILED)
    await host.step()
    totals.observe(board.cells)
    one.clear()
    one[Word.PID] = 13  # another worker in the same cell
    SeriesTable(one.series).of("q", "t").add(Count.SUCCEEDED, 2)
    await host.step()
    await Historian(board, Totals(), link).step()  # another steward, after this one has died
    await link.close()
    for table, only in (("history", " and queue = ''"), ("task_history", "")):
        sums = f"select sum(succeeded)::int, sum(failed)::int from fastq.{table} where span_s = 60{only}"
        assert await ask(conn, sums) == [(9, 1)]


async def test_depths(conn: Conn) -> None:
    """What is ready and what runs, by queue and in all."""
    await put(conn, "{}", "{}", "{}")
    await put(conn, "{}", lane=LANE._replace(queue="mail"))
    await take(conn, await hire(conn), limit=1)
    depths = await history.look(conn, shards=[0])
    assert {name: (depth.ready, depth.running) for name, depth in depths.items()} == {
        "default": (2, 1),
        "mail": (1, 0),
        "": (3, 1),
    }
    await history.record_depths(conn, depths)
    await history.record_depths(conn, {**depths, "mail": Depth(ready=0, running=0)})
    rows = await ask(
        conn,
        "select queue, ready, running from fastq.history where queue <> '' and span_s = 60 order by at desc, queue"
        " limit 2",
    )
    assert rows == [("default", 2, 1), ("mail", 0, 0)]
    most = "select max(ready)::int from fastq.history where queue = 'mail' and span_s = 3600"
    assert await ask(conn, most) == [(1,)]


async def test_old_minutes_and_old_hours_are_forgotten(conn: Conn) -> None:
    """What is young stays."""
    for table, of in (("history", ""), ("task_history", ", queue, task")):
        values = of and ", 'q', 't'"
        await conn.execute(
            f"insert into fastq.{table} (at, span_s{of}) select now() - a, s{values}"
            " from (values (interval '25 hours', 60), ('23 hours', 60), ('25 hours', 3600), ('91 days', 3600))"
            " as v(a, s)"
        )
    assert await history.prune(conn) == 4
    for table in ("history", "task_history"):
        assert await ask(conn, f"select span_s from fastq.{table} order by at") == [(3600,), (60,)]


def test_a_queue_that_becomes_empty_is_noted_as_empty(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an hour; no row tells of it."""
    duty = Depths(Link(dsn, "fastq test"), None, shards=Shards(1))  # type: ignore[arg-type]
    assert duty._with_empty({"": Depth(1), "q": Depth(1)}) == {"": Depth(1), "q": Depth(1)}
    assert duty._with_empty({"": Depth(0)}) == {"": Depth(0), "q": Depth(0)}
    monkeypatch.setattr(historian, "_EMPTY_S", 0.0)
    assert duty._with_empty({"": Depth(0)}) == {"": Depth(0)}
