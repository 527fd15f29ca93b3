"""`fastq.testing` from synchronous code, and `run_job`."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import msgspec
import pytest
from small_shop import Address, Db, Shop, states

import fastq
from fastq import testing

pytestmark = pytest.mark.e2e


# -- from synchronous code


def test_drain_sync(shop: Shop) -> None:
    """Without an event loop; synchronous handlers run in the test's own thread."""
    with shop.app:
        shop.order.enqueue_sync(items=2)
        runs = testing.drain_sync(shop.app)
        shop.welcome.enqueue_sync(user_id=7)  # the app is open as before
    assert shop.done[1:] == [(0, threading.get_ident()), (1, threading.get_ident())]
    assert len(runs) == 3


def test_drain_sync_raises(shop: Shop) -> None:
    """Failures of synchronous handlers are raised as those of coroutines are."""

    @shop.app.task
    def fail() -> None:
        raise LookupError("gone")

    with shop.app:
        fail.enqueue_sync()
        with pytest.RaisesGroup(LookupError):
            testing.drain_sync(shop.app)


async def test_sync_calls_are_refused_in_a_loop(shop: Shop) -> None:
    """Where an event loop runs, the error names the coroutine."""
    with pytest.raises(fastq.UsageError, match=r"await drain"):
        testing.drain_sync(shop.app)
    with pytest.raises(fastq.UsageError, match=r"await run_job"):
        testing.run_job_sync(shop.app, shop.welcome.job(user_id=7))


def test_run_job_sync(shop: Shop) -> None:
    """Returns the result; a synchronous handler runs in this thread, and its interrupt is the test's."""

    @shop.app.task
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert testing.run_job_sync(shop.app, shop.ship.job(item=3)) == 3
    assert shop.done == [(3, threading.get_ident())]
    assert testing.run_job_sync(shop.app, shop.welcome.job(user_id=3)) == "hello 3"
    with pytest.raises(KeyboardInterrupt):
        testing.run_job_sync(shop.app, interrupt.job())


# -- run_job


async def test_run_job_converts_as_a_worker_does(shop: Shop) -> None:
    """Arguments go out as JSON and come back as what the signature says."""
    to, at = Address("High Street", 7), datetime(2026, 1, 2, tzinfo=UTC)
    assert await testing.run_job(shop.app, shop.send.job(to=to, at=at)) == (to, at)


async def test_run_job_refuses_what_a_worker_would(shop: Shop) -> None:
    """Arguments of a wrong type, that cannot be written, or of a task that the app does not have."""
    with pytest.raises(msgspec.ValidationError, match="user_id"):
        await testing.run_job(shop.app, shop.welcome.job(user_id="seven"))  # type: ignore[arg-type]
    with pytest.raises(fastq.ArgumentError, match="JSON"):
        await testing.run_job(shop.app, shop.welcome.job(user_id=object()))  # type: ignore[arg-type]
    with pytest.raises(fastq.UsageError, match="no task"):
        await testing.run_job(fastq.App(), shop.welcome.job(user_id=7))


async def test_run_job_raises_what_the_handler_raises(shop: Shop, db: Db) -> None:
    """Also in a later attempt; nothing of the job is left, and a good attempt returns."""
    with pytest.raises(ZeroDivisionError, match="attempt 2"):
        await testing.run_job(shop.app, shop.flaky.job(), attempt=2)
    assert await testing.run_job(shop.app, shop.flaky.job(good_at=3), attempt=3) == 3
    assert states(db) == []
    assert db.execute("select id from fastq.worker").fetchall() == []


async def test_run_job_runs_that_one_only(shop: Shop, db: Db) -> None:
    """Other jobs in the same lane stay, and a delay does not count."""
    async with shop.app:
        await shop.welcome.enqueue(user_id=1)
        assert await testing.run_job(shop.app, shop.welcome.options(delay=60).job(user_id=2)) == "hello 2"
    assert shop.done == [2]
    assert states(db) == ["ready"]


async def test_run_job_keeps_what_the_handler_enqueues(shop: Shop) -> None:
    """A handler's own jobs are enqueued for real."""
    await testing.run_job(shop.app, shop.order.job(items=1))
    assert testing.assert_enqueued(shop.ship, item=0).state == "ready"


async def test_run_job_ends_in_time(shop: Shop, db: Db) -> None:
    """A handler that hangs is cancelled; a task's own timeout is kept."""

    @shop.app.task(timeout=0.05)
    async def slow() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"longer than its timeout of 0.05"):
        await testing.run_job(shop.app, slow.job())
    with pytest.raises(TimeoutError, match=r"hang had not ended after 0.1 s"):
        await testing.run_job(shop.app, shop.hang.job(), timeout=0.1)
    assert states(db) == []


async def test_run_job_of_a_paused_queue(shop: Shop, db: Db) -> None:
    """It says why there is nothing to run."""
    db.execute("insert into fastq.queue (name, paused) values ('mail', true)")
    with pytest.raises(fastq.UsageError, match="paused"):
        await testing.run_job(shop.app, shop.welcome.job(user_id=7))
    assert states(db) == []
