"""What a run can end in beside success and failure: a next step, a kept result, a checkpoint, a call to a hook."""

from __future__ import annotations

import asyncio

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_empty, wait_told

import fastq

pytestmark = pytest.mark.process


def test_a_job_goes_on_step_by_step(dsn: str, db: Db) -> None:
    """The same job becomes the next task with new arguments; its attempts start anew, a failure repeats one step."""
    (job,) = enqueue(handlers.pack.job(order=7))
    with Fleet(dsn):
        wait_told(db, f"shipped attempt 2 errors 1 of {job}")
        wait_empty(db)
    assert told(db, "packed") == ["7"]
    assert told(db, f"shipped attempt 1 errors 0 of {job}") == ["P7"]


def test_a_step_that_failed_for_good_waits_there_with_its_arguments(dsn: str, db: Db) -> None:
    """It is the step, not the first task, that stands in finished: retrying resumes there."""
    enqueue(handlers.pack.job(order=8))
    db.execute("create table breaks (n int)")
    db.execute(
        "create or replace function fastq_test_break() returns trigger language plpgsql as"
        " $$ begin if new.what like 'shipped%' then raise exception 'no road'; end if; return new; end $$"
    )
    db.execute("create trigger t before insert on probe for each row execute function fastq_test_break()")
    with Fleet(dsn):
        until("the step to fail", lambda: states(db) == {"failed": 1})
    row = db.execute("select task, payload::text, attempt from fastq.job").fetchone()
    assert row == ("handlers.ship", '{"order":8,"parcel":"P8"}', 2)


def test_a_self_looping_step_leaves_nothing_behind(dsn: str, db: Db) -> None:
    """It goes on under one id, delayed each time, and ends when it says so."""
    enqueue(handlers.again.job(n=20))
    with Fleet(dsn):
        wait_told(db, "again", 21)
        wait_empty(db)
    assert told(db, "again") == [str(n) for n in range(20, -1, -1)]


def test_results_are_kept_and_awaited(dsn: str, db: Db) -> None:
    """`await job.result()` gives what the handler returned, or says how the job ended."""

    async def ask() -> None:
        async with handlers.app:
            added = await handlers.adds.enqueue(a=1, b=2)
            assert await added.result(timeout=30) == 3
            assert await (await handlers.divides.enqueue(a=1, b=2)).result(timeout=30) == 0.5
            with pytest.raises(fastq.JobFailed, match="failed: ZeroDivisionError: division by zero") as failed:
                await (await handlers.divides.enqueue(a=1, b=0)).result(timeout=30)
            assert failed.value.state == "failed"
            with pytest.raises(TimeoutError):
                await (await handlers.adds.options(delay=60).enqueue(a=1, b=1)).result(timeout=0.01)
            with pytest.raises(fastq.UsageError, match="keep"):
                await (await handlers.quick.enqueue(n=1)).result()
            assert await handlers.app.jobs.result(added.id) == 3

    def ask_in_synchronous_code() -> None:
        with handlers.app:
            added = handlers.adds.enqueue_sync(a=3, b=4)
            assert added.result_sync(timeout=30) == 7
            assert handlers.app.jobs.result_sync(added.id) == 7
            with pytest.raises(fastq.JobFailed, match="ZeroDivisionError"):
                handlers.divides.enqueue_sync(a=1, b=0).result_sync(timeout=30)
            with pytest.raises(TimeoutError):
                handlers.adds.options(delay=60).enqueue_sync(a=1, b=1).result_sync(timeout=0.01)

    with Fleet(dsn):
        asyncio.run(ask())
        ask_in_synchronous_code()
    kept = db.execute(
        "select state, result::text, expires_at between now() and now() + interval '61 s', attempt"
        " from fastq.finished where task = 'handlers.adds'"
    ).fetchall()
    assert sorted(kept) == [("succeeded", "3", True, 1), ("succeeded", "7", True, 1)]


def test_a_result_that_is_no_json_fails_the_run(dsn: str, db: Db) -> None:
    """Nothing is kept that could not be read; the error says what to do."""
    enqueue(handlers.returns_what_is_no_json.job())
    with Fleet(dsn):
        until("the first failure", lambda: states(db) == {"retrying": 1})
    row = db.execute("select meta->'errors'->0->>'message' from fastq.job").fetchone()
    assert row == ("cannot be written as JSON: object cannot be written as JSON",)


@pytest.mark.parametrize("dies", [False, True])
def test_a_checkpoint_is_seen_by_the_next_attempt(dsn: str, db: Db, dies: bool) -> None:
    """After a failure, and after the death of the worker."""
    enqueue(handlers.resumes.job(dies=dies))
    with Fleet(dsn):
        wait_told(db, "saw", 3)
        wait_empty(db)
    assert told(db, "saw") == ["None", "{'pages': 1}", "{'pages': 2}"]
    assert db.execute("select count(*) from fastq.progress").fetchone() == (0,)


def test_a_checkpoint_revives_no_last_attempt(dsn: str, db: Db) -> None:
    """A job whose attempts are used up is dead, whatever it saved."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select fastq.enqueue('handlers.resumes', '{\"dies\": false}')")
        conn.execute("update fastq.ready set attempt = 2")
    with Fleet(dsn):
        until("it to fail", lambda: states(db) == {"failed": 1})
    assert told(db, "saw") == ["None"]


def test_hooks_hear_of_failures_and_of_the_end(dsn: str, db: Db) -> None:
    """on_failure after each failed attempt, on_dead at the end; a hook that fails harms nobody."""
    with handlers.hooked as app:
        (job,) = app.enqueue_many_sync([handlers.hopeless.job(n=1)])
    with Fleet(dsn, target="handlers:hooked") as fleet:
        assert wait_told(db, "dead") == [f"{job} no 1"]
        wait_told(db, "failure", 2)
        assert fleet.stop() == 0
        fleet.wait_line("a hook failed for job")
    assert told(db, "failure") == ["1 no 1", "2 no 1"]
