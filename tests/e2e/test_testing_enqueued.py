"""`fastq.testing.enqueued` and `assert_enqueued`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import psycopg
import pytest
from small_shop import Address, Db, Shop

import fastq
from fastq import testing

pytestmark = pytest.mark.e2e


# -- assert_enqueued


async def test_enqueued_lists_jobs(shop: Shop) -> None:
    """All of the app's, those of a task, those with some arguments; in order, with what they are."""
    async with shop.app:
        await shop.welcome.options(priority=2, headers={"by": "me"}).enqueue(user_id=7)
        await shop.order.options(delay=60).enqueue(items=1)
    first, second = testing.enqueued(shop.app)
    assert (first.args, first.queue, first.priority, first.headers) == ({"user_id": 7}, "mail", 2, {"by": "me"})
    assert (second.state, second.task) == ("scheduled", shop.order.name)
    assert second.run_at is not None
    assert second.enqueued_at is not None
    assert testing.enqueued(shop.order, items=1) == [second]
    assert testing.enqueued(shop.order, items=2) == []


async def test_assert_enqueued_compares_as_handlers_get_it(shop: Shop) -> None:
    """Values in Python's types or JSON's, defaults included; arguments that are not named don't matter."""
    to, at = Address("High Street", 7), datetime(2026, 1, 2, tzinfo=UTC)
    async with shop.app:
        await shop.send.enqueue(to=to, at=at)
        await shop.welcome.enqueue(user_id=7)
    testing.assert_enqueued(shop.send, to=to)
    testing.assert_enqueued(shop.send, to={"street": "High Street", "number": 7}, at=ANY)
    testing.assert_enqueued(shop.welcome, user_id=7, template="hello")
    with pytest.raises(AssertionError):
        testing.assert_enqueued(shop.welcome, template="bye")


async def test_assert_enqueued_says_what_is_there(shop: Shop) -> None:
    """Its error shows what was looked for and what was found instead; a misspelt argument is an error of its own."""
    with pytest.raises(AssertionError, match=r"no job is enqueued \(with conn="):
        testing.assert_enqueued(shop.welcome)
    async with shop.app:
        job = await shop.welcome.enqueue(user_id=7)
    with pytest.raises(AssertionError) as caught:
        testing.assert_enqueued(shop.welcome, user_id=8)
    assert "welcome(user_id=8)" in str(caught.value)
    assert f"job {job.id} {shop.welcome.name}(user_id=7), ready" in str(caught.value)
    with pytest.raises(fastq.ArgumentError, match="usr_id"):
        testing.assert_enqueued(shop.welcome, usr_id=7)


async def test_what_failed_is_still_there(shop: Shop) -> None:
    """A job that failed is listed with its errors; one that succeeded is gone."""
    async with shop.app:
        await shop.flaky.enqueue()
        await shop.welcome.enqueue(user_id=7)
        await testing.drain(shop.app, check=False)
    (job,) = testing.enqueued(shop.app)
    assert (job.state, job.errors[0]["type"], job.attempt) == ("retrying", "ZeroDivisionError", 1)


async def test_an_open_transaction_of_a_coroutine(shop: Shop, conn: psycopg.AsyncConnection[Any]) -> None:
    """With conn=… a job is seen that nobody else sees, before it is rolled back."""
    async with shop.app, conn.transaction(force_rollback=True):
        await shop.app.enqueue(shop.welcome.job(user_id=7), conn=conn)
        assert testing.assert_enqueued(shop.welcome, conn=conn, user_id=7).queue == "mail"
        assert testing.enqueued(shop.app) == []
    assert testing.enqueued(shop.app, conn=conn) == []


def test_an_open_transaction(shop: Shop, dsn: str) -> None:
    """The same on a synchronous connection, whose transaction is neither ended nor begun by looking."""
    with shop.app, psycopg.connect(dsn) as conn:
        assert testing.enqueued(shop.app, conn=conn) == []
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        shop.app.enqueue_sync(shop.welcome.job(user_id=7), conn=conn)
        testing.assert_enqueued(shop.welcome, conn=conn)
        conn.rollback()
        assert testing.enqueued(shop.app, conn=conn) == []


def test_a_connection_inside_another(shop: Shop, db: Db) -> None:
    """Django's and SQLAlchemy's connections hold one of psycopg's; what holds none is refused."""

    class Held:
        """As SQLAlchemy's Connection."""

        connection = type("Fairy", (), {"driver_connection": db})

    assert testing.enqueued(shop.app, conn=Held()) == []
    with pytest.raises(fastq.UsageError, match="psycopg"):
        testing.enqueued(shop.app, conn=object())


def test_a_transaction_that_failed(shop: Shop, dsn: str) -> None:
    """PostgreSQL's own words for why it cannot be looked at."""
    with psycopg.connect(dsn) as conn:
        with pytest.raises(psycopg.Error):
            conn.execute("nonsense")
        with pytest.raises(fastq.UsageError, match="aborted"):
            testing.enqueued(shop.app, conn=conn)
