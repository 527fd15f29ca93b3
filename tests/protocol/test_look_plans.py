"""No page scans a whole table of jobs: each question that it asks is explained, with and without statistics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Cursor

from fastq.dashboard import pages
from fastq.postgres import database
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobFilter
from fastq.states import JobState

pytestmark = pytest.mark.protocol

ROWS = 30_000
JOBS = re.compile(r"(?:ready|scheduled|finished|line|packet)(?:_\d)?")
QUERIES: dict[str, list[dict[str, str]]] = {
    "/": [{}, {"span": "24h"}],
    "/jobs": [
        {},
        *({"state": state.value} for state in JobState),
        {"q": "queue:mail"},
        {"q": "queue:mail task:t state:ready"},
        {"q": "args.n:7"},
        {"q": "key:k", "state": "failed"},
        {"q": "nothing such", "state": "failed"},
        {"q": "queue:nobody", "state": "failed,scheduled"},
    ],
    "/job": [{"id": "1024"}],
    "/queues": [{}],
    "/queue": [{"name": "mail"}],
    "/tasks": [{}, {"span": "7d"}],
    "/task": [{"task": "t"}],
    "/schedules": [{}],
    "/workers": [{}],
    "/doctor": [{}],
    "/audit": [{}],
}


def scanned(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the tables of jobs that a plan reads from their beginning on, and how many rows of them."""
    if node["Node Type"] == "Seq Scan" and JOBS.fullmatch(node["Relation Name"]):
        yield (
            node["Relation Name"],
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"],
        )
    for below in node.get("Plans", ()):
        yield from scanned(below)


class Asked(Cursor[Any]):
    """A cursor that explains each question before it asks it."""

    scans: list[str] = []  # noqa: RUF012 - shared on purpose

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Explain, note what is scanned, and ask."""
        text = query if isinstance(query, str) else query.decode()
        if re.match(r"\s*(?:select|with)\b", text) and "fastq." in text:
            with psycopg.Cursor(self.connection) as cur:
                cur.execute(f"explain (analyze, format json) {text}".encode(), params)
                ((plan,),) = cur.fetchall()
            self.scans += [f"{table}\n{text[:300]}" for table, read in scanned(plan[0]["Plan"]) if read >= ROWS]
        return super().execute(query, params, **options)


@pytest.fixture(params=["no statistics", "statistics"])
def looking(dsn: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a connection to a database with many jobs of every kind, which explains what is asked."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "insert into fastq.ready_0 (queue, task, payload)"
            f" select case n % 3 when 0 then 'mail' else 'other' end, 't', '{{}}' from generate_series(1, {ROWS}) n"
        )
        conn.execute(
            "insert into fastq.scheduled (shard, id, run_at, task, queue)"
            " select 0, 10000000000 + n, now() + n * interval '1 s', 't', 'mail'"
            f" from generate_series(1, {ROWS}) n"
        )
        conn.execute(
            "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task,"
            " payload) select 0, 20000000000 + n, case n % 2 when 0 then 'failed' else 'succeeded' end, 4, 1, 1,"
            f" 'mail', '', 't', '{{}}' from generate_series(1, {ROWS}) n"
        )
        conn.execute(
            "insert into fastq.line (shard, pos, queue, group_key, task)"
            f" select 0, 30000000000 + n, 'line', 'g' || n % 9, 't' from generate_series(1, {ROWS}) n"
        )
        if request.param == "statistics":
            conn.execute("analyze fastq.ready, fastq.scheduled, fastq.finished, fastq.line")
    monkeypatch.setattr(Asked, "scans", [])
    with database.connect(dsn) as conn:
        conn.cursor_factory = Asked
        yield conn


@pytest.mark.parametrize("path", pages.PAGES)
def test_no_page_scans_a_table_of_jobs(looking: Any, path: str) -> None:
    """Whatever is asked for."""
    for query in QUERIES[path]:
        try:
            pages.PAGES[path].show(looking, query)
        except pages.NotThere:
            continue
        assert Asked.scans == [], query


def test_no_preview_scans_a_table_of_jobs(looking: Any) -> None:
    """Of what is done to all that fit."""
    for wanted in (JobFilter(), JobFilter(queue="nobody"), JobFilter(error="x"), JobFilter(task="nobody")):
        carry_out_sync(looking, jobs.count(wanted, cap=1000))
    assert Asked.scans == []


def test_a_scan_would_be_seen(looking: Any) -> None:
    """With a filter, too."""
    for where in ("true", "queue = 'nobody'"):
        Asked.scans.clear()
        looking.execute(f"select count(*) from fastq.finished where {where} and fastq.has_error(meta, 'x') is not null")
        assert len(Asked.scans) == 1
