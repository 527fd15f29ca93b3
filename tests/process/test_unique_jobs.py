"""Unique jobs in real workers: the key is free when its job has ended, and not before, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import batches
import grouped
import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_empty, wait_told

import fastq

pytestmark = pytest.mark.process


def keys(db: Db) -> list[str]:
    """Return the keys that are held."""
    return [row[0] for row in db.execute("select key from fastq.unique_key order by key").fetchall()]


def enqueue_one(task: Any, **args: Any) -> fastq.JobRef:
    """Enqueue one job."""
    with handlers.app:
        return task.enqueue_sync(**args)


def wait_free(db: Db) -> None:
    """Wait until no key is held and no job is left but failed ones."""
    until("all keys to be free", lambda: not keys(db) and states(db).keys() <= {"failed"})


ENDS = {
    "fast": handlers.nothing.options(unique_key="k").job(n=1),
    "with a context": handlers.chain.options(unique_key="k").job(left=0),
    "in a thread": handlers.in_thread.options(unique_key="k").job(n=1),
    "kept": handlers.adds.options(unique_key="k").job(a=1, b=2),
    "failed": handlers.flow.options(unique_key="k").job(kind="exit"),
    "discarded": handlers.flow.options(unique_key="k").job(kind="discard"),
    "after retries": handlers.failing.options(unique_key="k").job(n=1),
    "after two steps": handlers.pack.options(unique_key="k").job(order=1),
    "in its own transaction": handlers.exactly_once.options(unique_key="k").job(n=1, die=False),
    "killed after that": handlers.exactly_once.options(unique_key="k").job(n=1, die=True),
    "arguments that do not fit": fastq.JobSpec("handlers.nothing", {}, fastq.job.Options(unique_key="k")),
}


@pytest.mark.parametrize("end", ENDS)
def test_free_at_the_end(dsn: str, db: Db, end: str) -> None:
    """Whichever way a job ends, its key is free then."""
    enqueue(ENDS[end])
    assert keys(db) == ["k"]
    with Fleet(dsn):
        until("the key to be free", lambda: not keys(db))
        until("the job to end", lambda: states(db).keys() <= {"failed", "discarded", "succeeded"})


def test_held_until_finished(dsn: str, db: Db) -> None:
    """While the job runs another one is a duplicate; afterwards it is not. Ordinary neighbours run beside them."""
    job = handlers.gated.options(unique_key="k")
    enqueue(*[handlers.nothing.job(n=n) for n in range(50)], job.job(n=1), *[handlers.quick.job(n=n) for n in range(5)])
    with Fleet(dsn):
        wait_told(db, "started")
        wait_told(db, "quick", 5)
        first = enqueue_one(job, n=2)
        assert first.duplicate
        db.execute("insert into gate values (true)")
        wait_free(db)
        second = enqueue_one(job, n=3)
        assert not second.duplicate
        wait_free(db)
    assert told(db, "started") == ["1", "3"]


def test_held_until_started(dsn: str, db: Db) -> None:
    """While the job runs another one may wait, and only one; a plain job runs as ever."""
    job = handlers.gated.options(unique_key="k", unique_until="started")
    enqueue(job.job(n=1), handlers.nothing.job(n=1))
    with Fleet(dsn, "-c", "1", "-b", "1"):
        wait_told(db, "started")
        assert keys(db) == []
        assert not enqueue_one(job, n=2).duplicate
        assert enqueue_one(job, n=3).duplicate
        db.execute("insert into gate values (true)")
        wait_free(db)
    assert told(db, "started") == ["1", "2"]


def test_a_crash_keeps_the_key_until_the_last(dsn: str, db: Db) -> None:
    """A job that kills its workers holds its key while it is tried again, and frees it when it failed for good."""
    enqueue(handlers.suicide.options(unique_key="k").job(n=1))
    with Fleet(dsn):
        wait_told(db, "suicide", 2)
        assert enqueue_one(handlers.suicide.options(unique_key="k"), n=2).duplicate
        wait_free(db)
    assert told(db, "suicide") == ["1", "1", "1"]


def test_a_killed_worker_gives_back_job_and_key(dsn: str, db: Db) -> None:
    """A job that is run a second time, because its worker was killed, is the only one all the time."""
    job = handlers.gated.options(unique_key="k")
    enqueue(job.job(n=1))
    with Fleet(dsn) as fleet:
        wait_told(db, "started")
        os.kill(fleet.workers(db)[0], signal.SIGKILL)
        assert enqueue_one(job, n=2).duplicate
        wait_told(db, "started", 2)
        assert enqueue_one(job, n=3).duplicate
        db.execute("insert into gate values (true)")
        wait_free(db)
    assert told(db, "finished") == ["1"]


def test_a_storm_of_duplicates(dsn: str, db: Db) -> None:
    """Many producers enqueue the same few keys while workers run them: no two jobs of a key ever run at once."""
    db.execute("create table busy (key text, pid int)")
    with Fleet(dsn, processes=2):
        asyncio.run(storm(30, lambda: None))
        wait_free(db)
    assert told(db, "clash") == []
    assert states(db) == {}
    assert len(told(db, "alone")) >= 5


def test_a_storm_while_workers_are_killed(dsn: str, db: Db) -> None:
    """The same with a worker killed every so often: nobody runs twice at once, and no key is left behind."""
    db.execute("create table busy (key text, pid int)")
    with Fleet(dsn, processes=2) as fleet:

        def kill() -> None:
            for pid in fleet.workers(db)[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        asyncio.run(storm(60, kill))
        wait_free(db)
    assert told(db, "clash") == []
    assert len(told(db, "alone")) >= 5


async def storm(rounds: int, disturb: Callable[[], None]) -> None:
    """Enqueue five keys again and again, three times at once; every tenth round comes a disturbance."""
    async with handlers.app:
        for n in range(rounds):
            keyed = [handlers.alone.options(unique_key=f"k{key}").job(key=f"k{key}") for key in range(5)]
            await asyncio.gather(*(handlers.app.enqueue(one) for one in keyed * 3))
            if n % 5 == 0:
                await handlers.app.enqueue_many(keyed)
            if n % 10 == 9:
                disturb()


def test_batch_handlers(dsn: str, db: Db) -> None:
    """Keys of jobs in one call: those held until the start are free before it, the others after it."""
    until_started = batches.waits.options(unique_key="started", unique_until="started")
    until_finished = batches.waits.options(unique_key="finished")
    with batches.app as app:
        ids = app.enqueue_many_sync([until_started.job(n=1), until_finished.job(n=2), batches.waits.job(n=3)])
        with Fleet(dsn, target="batches:app"):
            assert wait_told(db, "called") == ["3"]
            assert keys(db) == ["finished"]
            assert app.jobs.cancel_sync(ids[2]) == "cancelling"
            until("the key to be free", lambda: not keys(db))
            until("the jobs to end", lambda: states(db).keys() <= {"cancelled", "failed"})


def test_ordered_and_unique(dsn: str, db: Db) -> None:
    """A job that waits in its line holds its key, and frees it when it has run."""
    db.execute("create table note (id int8 generated always as identity, what text, grp text, n int, pid int)")
    jobs = [grouped.step.options(group_key="g", unique_key=f"k{n % 4}").job(group="x", n=n % 4) for n in range(8)]
    with grouped.app as app:
        ids = app.enqueue_many_sync(jobs)
    assert ids.duplicates == [4, 5, 6, 7]
    assert len(keys(db)) == 4
    with Fleet(dsn, target="grouped:app", processes=2):
        wait_free(db)
    begun = db.execute("select n from note where what = 'begin' order by id").fetchall()
    assert begun == [(0,), (1,), (2,), (3,)]


def test_reservations_expire(dsn: str, db: Db) -> None:
    """A reservation whose time is over is deleted by the fleet and frees its key; one that is committed runs."""
    job = handlers.quick.options(unique_key="k")
    with Fleet(dsn), handlers.app:
        lost = job.reserve_sync(expires=0.05, n=1)
        wait_free(db)
        with pytest.raises(fastq.ReservationGone):
            handlers.app.commit_sync(lost)
        kept = job.reserve_sync(expires=60, n=2)
        assert handlers.app.commit_sync(kept)
        wait_told(db, "quick")
        wait_free(db)
        assert not handlers.app.commit_sync(kept)
    assert told(db, "quick") == ["2"]


def test_unique_jobs_in_bulk(dsn: str, db: Db) -> None:
    """Several thousand in a stream run once each, beside as many that are not unique."""
    mixed = [handlers.nothing.options(unique_key=f"k{n % 3000}").job(n=n) for n in range(4000)]
    enqueue(*[spec for one in mixed for spec in (one, handlers.nothing.job(n=0))])
    assert len(keys(db)) == 3000
    with Fleet(dsn):
        wait_empty(db)
    assert keys(db) == []
