"""The answer to a commit is lost: the jobs are there, and no way of enqueueing may say that they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from line import Line

import fastq

pytestmark = pytest.mark.protocol

STREAM = 1000
"""More than what an INSERT takes: a stream of so many goes by COPY."""

Ways = dict[str, tuple[int, Callable[[fastq.App, Any], Awaitable[Any]]]]


class Forgetful:
    """A line that breaks as soon as the answer to a commit wants to come back: when `jobs` are there."""

    def __init__(self, dsn: str, jobs: int) -> None:
        self._jobs = jobs
        self._look = psycopg.connect(dsn, autocommit=True)
        self.broke = False
        self.line = Line(dsn, lets_back=self._lets_back)

    def _lets_back(self, answer: bytes) -> bool:
        """Pass answers on, but not the one that comes when the jobs are there: the server commits before it answers."""
        row = self._look.execute("select coalesce(sum(coalesce(jobs, 1)), 0) from fastq.ready").fetchone()
        self.broke = self.broke or (row is not None and row[0] >= self._jobs)
        return not self.broke

    def close(self) -> None:
        """Hang up."""
        self.line.close()
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
    broken = Forgetful(dsn, count)
    broken.line.open()
    yield broken, count, call
    broken.close()


@pytest.mark.parametrize("retry_s", [0.0, 30.0], ids=["at once", "patient"])
async def test_a_commit_without_an_answer_is_in_doubt(way: Any, dsn: str, retry_s: float) -> None:
    """The error says that nobody knows; the jobs are there, once, also where outages are waited out."""
    broken, count, call = way
    app = fastq.App(broken.line.dsn, enqueue_retry_s=retry_s)

    @app.task(name="t")
    async def t(n: int) -> None: ...

    async with app:
        with app, pytest.raises(fastq.EnqueueOutcomeUnknown, match="may or may not be there"):
            await call(app, t)
    assert broken.broke
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select count(*) from fastq.job").fetchone() == (count,)
