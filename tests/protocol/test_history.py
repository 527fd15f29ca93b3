"""The history: what hosts add up, what stands in queues, and how it is folded and forgotten."""

from __future__ import annotations

import psycopg
import pytest
from scene import LANE, Conn, ask, hire, put, take

from fastq.host.board import Board, Word
from fastq.insights import history as read
from fastq.observability.totals import Totals
from fastq.postgres.link import Link
from fastq.protocol import history
from fastq.protocol.history import Depth
from fastq.states import CellState
from fastq.steward.historian import Historian

pytestmark = pytest.mark.protocol


async def test_two_hosts_add_to_the_same_minute(conn: Conn, dsn: str) -> None:
    """What each counts is added to the row of the fleet."""
    await history.record_counts(conn, {"claimed": 10, "succeeded": 8, "failed": 1})
    await history.record_counts(conn, {"claimed": 5, "succeeded": 5, "retried": 2, "refused": 9})
    with psycopg.connect(dsn) as look:
        rows = read.counts(look)
    assert sum(row.claimed for row in rows) == 15
    assert [sum(getattr(row, name) for row in rows) for name in ("succeeded", "failed", "retried")] == [13, 1, 2]


async def test_a_host_adds_what_its_workers_counted_and_nothing_twice(conn: Conn, dsn: str) -> None:
    """Through workers that end and whose cells others take over."""
    board, totals, link = Board(cells=2, running=1), Totals(), Link(dsn, "fastq test")
    one, two = board.cells
    await link.open()
    one[Word.PID], one[Word.STATE], one[Word.SUCCEEDED] = 11, CellState.RUNNING, 5
    historian = Historian(board, totals, link)  # the workers were faster than it was
    await historian.step()
    one[Word.SUCCEEDED] = 7
    two[Word.PID], two[Word.STATE], two[Word.FAILED] = 12, CellState.RUNNING, 1
    await historian.step()
    totals.observe(board.cells)
    one[Word.PID], one[Word.SUCCEEDED] = 13, 2  # another worker in the same cell
    await historian.step()
    await Historian(board, Totals(), link).step()  # another steward, after this one has died
    await link.close()
    assert await ask(conn, "select sum(succeeded)::int, sum(failed)::int from fastq.history") == [(9, 1)]


async def test_depths(conn: Conn) -> None:
    """What is ready and what runs, by queue and in all."""
    await put(conn, "{}", "{}", "{}")
    await put(conn, "{}", lane=LANE._replace(queue="mail"))
    await take(conn, await hire(conn), limit=1)
    depths = await history.look(conn, shards=1)
    assert {name: (depth.ready, depth.running) for name, depth in depths.items()} == {
        "default": (2, 1),
        "mail": (1, 0),
        "": (3, 1),
    }
    await history.record_depths(conn, depths)
    await history.record_depths(conn, {**depths, "mail": Depth(ready=0, running=0)})
    rows = await ask(
        conn, "select queue, ready, running from fastq.history where queue <> '' order by at desc, queue limit 2"
    )
    assert rows == [("default", 2, 1), ("mail", 0, 0)]


async def test_minutes_become_hours_and_hours_are_forgotten(conn: Conn) -> None:
    """The sums stay, the most stays the most; what is young stays as it is."""
    await conn.execute(
        "insert into fastq.history (at, queue, succeeded, ready)"
        " select date_trunc('hour', now() - interval '3 days') + n * interval '1 minute', '', 10, n"
        " from generate_series(0, 59) n"
    )
    await conn.execute("insert into fastq.history (at, span_s, succeeded) values (now() - interval '91 days', 3600, 1)")
    await history.record_counts(conn, {"succeeded": 3})
    assert await history.fold(conn) == 61
    assert await ask(conn, "select span_s, succeeded::int, ready::int from fastq.history order by at") == [
        (3600, 600, 59),
        (60, 3, None),
    ]
    assert await history.fold(conn) == 0
