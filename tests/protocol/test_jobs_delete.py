"""Jobs are deleted; and the app's own ways to find and steer them."""

from __future__ import annotations

import asyncio

import pytest
from jobs_scene import put_finished, put_scheduled
from scene import (
    Conn,
    hire,
    put,
    states,
    take,
    until_blocked,
)

import fastq
from fastq.errors import FastqError, NotOpen, SchemaError, UsageError
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.jobs import JobFilter
from fastq.protocol.refusal import as_our_errors
from fastq.states import JobState

pytestmark = pytest.mark.protocol


async def test_what_does_not_run_is_deleted(conn: Conn) -> None:
    """From line, from those that wait and from those that are kept; what runs stays, what is gone is gone."""
    (running,) = await put(conn)
    await take(conn, await hire(conn))
    others = [
        (await put(conn))[0],
        await put_scheduled(conn),
        await put_finished(conn),
        await put_finished(conn, "succeeded"),
    ]
    for job in others:
        assert await carry_out(conn, jobs.delete(job)) is True
        assert await carry_out(conn, jobs.delete(job)) is False
    with pytest.raises(FastqError, match="is running and cannot be deleted"):
        await carry_out(conn, jobs.delete(running))
    assert await states(conn) == {running: "running"}


async def test_delete_waits_for_a_claim_and_leaves_what_it_took(conn: Conn, other: Conn, third: Conn) -> None:
    """The job runs by then, so it is not deleted."""
    who = await hire(conn)
    (job,) = await put(conn)
    async with conn.transaction():
        await take(conn, who)
        asked = asyncio.create_task(carry_out(other, jobs.delete(job)))
        await until_blocked(third, other)
    with pytest.raises(FastqError, match="is running"):
        await asked
    assert await states(conn) == {job: "running"}


async def test_many_are_deleted(conn: Conn) -> None:
    """By filter, up to a limit, and never what runs."""
    (running,) = await put(conn)
    await take(conn, await hire(conn))
    await put(conn, "{}", "{}")
    scheduled = await put_scheduled(conn, "retrying")
    done = await put_finished(conn, "succeeded")
    await put_finished(conn, queue="mail")
    assert await carry_out(conn, jobs.delete_many(JobFilter(queue="mail"))) == 1
    assert await carry_out(conn, jobs.delete_many(JobFilter(states=(JobState.READY,)), 1)) == 1
    assert await carry_out(conn, jobs.delete_many(JobFilter(states=(JobState.READY,)))) == 1
    assert await states(conn) == {running: "running", scheduled: "retrying", done: "succeeded"}
    assert await carry_out(conn, jobs.delete_many(JobFilter())) == 2
    with pytest.raises(UsageError, match="running jobs cannot be deleted"):
        jobs.delete_many(JobFilter(states=(JobState.RUNNING,)))


async def test_the_app_and_its_synchronous_twin_do_the_same(conn: Conn, dsn: str) -> None:
    """get, list, retry, cancel, delete and their many, both ways."""
    app = fastq.App(dsn)
    async with app:
        job = (await put(conn))[0]
        assert await app.jobs.get(1 << 40) is None
        found = await app.jobs.get(job)
        assert found is not None
        assert await app.jobs.list(state="ready") == [found]
        assert await app.jobs.cancel(job) == "cancelled"
        assert await app.jobs.retry(job) is True
        assert await app.jobs.cancel_many(queue="default") == (1, 0)
        assert await app.jobs.retry_many(state=["cancelled"], limit=9) == 1
        assert await app.jobs.delete_many(everything=True) == 1
        assert await app.jobs.delete(job) is False

    def sync() -> None:
        with app:
            assert app.jobs.get_sync(again) is not None
            assert [job.id for job in app.jobs.list_sync(task="t", limit=1)] == [again]
            assert app.jobs.cancel_sync(again) == "cancelled"
            assert app.jobs.retry_sync(again) is True
            assert app.jobs.cancel_many_sync(task="t") == (1, 0)
            assert app.jobs.retry_many_sync(task="t") == 1
            assert app.jobs.delete_sync(again) is True
            assert app.jobs.delete_many_sync(everything=True) == 0

    again = (await put(conn))[0]
    await asyncio.to_thread(sync)
    with pytest.raises(NotOpen):
        await app.jobs.get(1)


async def test_all_jobs_must_be_meant(dsn: str) -> None:
    """Without a filter nothing is changed by accident; unknown states and negative limits are told."""
    async with fastq.App(dsn) as app:
        for method in (app.jobs.retry_many, app.jobs.cancel_many, app.jobs.delete_many):
            with pytest.raises(UsageError, match="everything=True"):
                await method(limit=1)
        with pytest.raises(UsageError, match="'asleep' is not a valid JobState; there are ready, running"):
            await app.jobs.list(state="asleep")
        with pytest.raises(UsageError, match="limit"):
            await app.jobs.list(limit=-1)


async def test_an_older_schema_says_what_to_do(conn: Conn) -> None:
    """The function is missing: migrate."""
    async with conn.transaction(force_rollback=True):
        await conn.execute("alter function fastq.find(int8) rename to found")
        with pytest.raises(SchemaError, match="run `fastq migrate`"), as_our_errors():
            await carry_out(conn, jobs.find(1))
