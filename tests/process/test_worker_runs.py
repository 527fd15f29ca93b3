"""What becomes of the runs of one job: failures, timeouts, odd payloads, contexts, threads."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_empty, wait_told

pytestmark = pytest.mark.process


def test_failing_job_retries_and_is_kept_with_its_traceback(dsn: str, db: Db) -> None:
    """retries=2 means three runs, then the job stays as failed with every error."""
    enqueue(handlers.failing.job(n=5))
    with Fleet(dsn):
        until("the job to fail", lambda: states(db) == {"failed": 1})
    assert told(db, "attempt") == ["1", "2", "3"]
    row = db.execute("select attempt, meta->'errors' from fastq.job").fetchone()
    assert row is not None
    assert row[0] == 3
    assert [error["attempt"] for error in row[1]] == [1, 2, 3]
    assert row[1][0]["type"] == "ValueError"
    assert "no 5" in row[1][0]["message"]
    assert "handlers.py" in row[1][0]["traceback"]


def test_success_after_retries_leaves_nothing(dsn: str, db: Db) -> None:
    """The context tells the attempt, what is left and the errors so far; success deletes the job."""
    enqueue(handlers.third_time.job())
    with Fleet(dsn):
        wait_told(db, "attempt", 3)
        wait_empty(db)
    assert told(db, "attempt") == ["1 3 0", "2 2 1", "3 1 2"]


def test_timeout_cancels_the_run_and_counts_it(dsn: str, db: Db) -> None:
    """A run past its timeout is cancelled, its cleanup code runs, and it counts as a failed attempt."""
    enqueue(handlers.endless.job())
    with Fleet(dsn):
        until("the job to fail", lambda: states(db) == {"failed": 1})
        assert told(db, "cleaned up") == ["None"]
    row = db.execute("select meta->'errors'->0->>'message' from fastq.job").fetchone()
    assert row == ("ran longer than its timeout of 0.05 s",)


@pytest.mark.parametrize("task", [handlers.stubborn, handlers.stubborn_thread])
def test_hard_timeout_kills_the_process_and_charges_only_that_job(dsn: str, db: Db, task: Any) -> None:
    """A handler that will not end is ended with its worker; what ran beside it is run again, uncharged."""
    (job,) = enqueue(task.job(n=1))
    enqueue(handlers.gated.job(n=2))
    with Fleet(dsn) as fleet:
        until("the job to fail", lambda: states(db) == {"failed": 1, "running": 1})
        db.execute("insert into gate values (true)")
        until("its neighbour to end", lambda: states(db) == {"failed": 1})
        fleet.wait_line("runs past its hard timeout")
    row = db.execute("select id, meta->'errors'->-1->>'message', meta->>'crashes' from fastq.job").fetchone()
    assert row == (job, "the worker process ended by SIGKILL, for this job's hard timeout, while it ran this job", "1")


def test_a_function_in_a_thread_outlives_its_timeout(dsn: str, db: Db) -> None:
    """It cannot be cancelled: it ends as it ends, once, and the log says that it was late."""
    enqueue(handlers.late_thread.job(n=1))
    with Fleet(dsn) as fleet:
        wait_empty(db)
        fleet.wait_line("ended well, but after its timeout of 0.05 s")
        assert fleet.stop() == 0


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("discard", "discarded"),
        ("snooze", "scheduled"),
        ("retry", "failed"),
        ("exit", "failed"),
        ("interrupt", "failed"),
        ("cancel", "failed"),
    ],
)
def test_whatever_a_handler_raises_is_its_own_jobs_outcome(dsn: str, db: Db, kind: str, state: str) -> None:
    """Flow exceptions and BaseExceptions settle their job; the worker goes on with the next."""
    enqueue(handlers.flow.job(kind=kind), handlers.quick.job(n=1))
    with Fleet(dsn) as fleet:
        until("the outcome", lambda: states(db) == {state: 1})
        wait_told(db, "quick")
        assert fleet.stop() == 0
    assert not [line for line in fleet.lines if "died" in line]


def test_self_cancelled_job_harms_no_other(dsn: str, db: Db) -> None:
    """A cancellation that a job leaves behind in its task does not hit the job after it."""
    enqueue(*(handlers.flow.job(kind="cancel_self") for _ in range(3)), *(handlers.quick.job(n=n) for n in range(20)))
    with Fleet(dsn, "-c", "2"):
        wait_told(db, "quick", 20)
        until("the queue to settle", lambda: set(states(db)) <= {"failed"})


def test_sync_tasks_run_in_threads(dsn: str, db: Db) -> None:
    """A plain function gets its arguments and its context, off the event loop."""
    ids = enqueue(*(handlers.in_thread.job(n=n) for n in range(40)))
    with Fleet(dsn, "--threads", "4"):
        wait_empty(db)
    assert sorted(told(db, "thread")) == sorted(f"{n} {job}" for n, job in enumerate(ids))


def test_arguments_are_converted_and_injected(dsn: str, db: Db) -> None:
    """Annotated types arrive as such; context, lifespan state and its parts are injected, defaults filled in."""
    from datetime import UTC, datetime

    enqueue(handlers.typed.options(headers={"a": 1}).job(at=datetime.now(UTC), key=uuid4()))  # type: ignore[call-arg]
    with Fleet(dsn):
        assert wait_told(db, "typed") == ["True 7 True"]


def test_context_variables_do_not_leak_between_jobs(dsn: str, db: Db) -> None:
    """Every job starts with clean contextvars, though slots are shared."""
    enqueue(*(handlers.leaves_context.job(value="dirty") for _ in range(30)))
    with Fleet(dsn, "-c", "2"):
        wait_told(db, "seen", 30)
    assert set(told(db, "seen")) == {"clean"}


def test_misfit_payload_fails_at_once_with_the_reason(dsn: str, db: Db) -> None:
    """Arguments from SQL that the task does not take fail without a retry and say where."""
    db.execute("""select fastq.enqueue('handlers.nothing', '{"n": "x"}'), fastq.enqueue('handlers.nothing', '{}'),
                         fastq.enqueue('handlers.nothing', '{"n": 1, "m": 2}')""")
    with Fleet(dsn):
        until("all to fail", lambda: states(db) == {"failed": 3})
    messages = [r[0] for r in db.execute("select meta->'errors'->0->>'message' from fastq.job order by id").fetchall()]
    assert "Expected `int`, got `str` - at `$.n`" in messages[0]
    assert "missing required field `n`" in messages[1]
    assert "unknown field `m`" in messages[2]
    assert db.execute("select max(attempt) from fastq.job").fetchone() == (1,)


def test_undecodable_payload_takes_nobody_down(dsn: str, db: Db) -> None:
    """A payload that is JSON to PostgreSQL but not to us fails alone; its batch runs."""
    enqueue(*(handlers.quick.job(n=n) for n in range(5)))
    db.execute("""select fastq.enqueue('handlers.quick', '{"n": "\\ud800"}')""")
    enqueue(*(handlers.quick.job(n=n) for n in range(5, 10)))
    with Fleet(dsn):
        until("one failure", lambda: states(db) == {"failed": 1})
    assert sorted(map(int, told(db, "quick"))) == list(range(10))


def test_unknown_task_is_left_alone_and_charged_nothing(dsn: str, db: Db) -> None:
    """A worker leaves jobs it does not know to others, and runs what comes behind them."""
    db.execute("select fastq.enqueue('nobody.knows', '{}') from generate_series(1, 5)")
    enqueue(*(handlers.quick.job(n=n) for n in range(5)))
    with Fleet(dsn) as fleet:
        wait_told(db, "quick", 5)
        fleet.wait_line("no task 'nobody.knows'")
        until("the unknown jobs alone", lambda: states(db) == {"ready": 5})
        assert fleet.stop() == 0
    assert db.execute("select max(attempt), count(meta) from fastq.job").fetchone() == (0, 0)


def test_completed_in_its_transaction_is_not_run_again_after_a_crash(dsn: str, db: Db) -> None:
    """A worker that dies between the handler's commit and the ack repeats nothing."""
    enqueue(handlers.exactly_once.job(n=1, die=True), handlers.exactly_once.job(n=2, die=False))
    with Fleet(dsn, "-c", "1") as fleet:
        fleet.wait_line("died: killed by SIGKILL")
        wait_told(db, "once", 2)
        wait_empty(db)
    assert sorted(told(db, "once")) == ["1", "2"]
    assert db.execute("select count(*) from fastq.progress").fetchone() == (0,)


def test_handlers_enqueue_more(dsn: str, db: Db) -> None:
    """A job may enqueue its successor through its context."""
    enqueue(handlers.chain.job(left=5))
    with Fleet(dsn):
        wait_told(db, "chain", 6)
        wait_empty(db)


def test_handlers_in_threads_enqueue_more(dsn: str, db: Db) -> None:
    """A plain function has the synchronous client, as it had where it was enqueued."""
    enqueue(*(handlers.enqueues_in_a_thread.job(n=n) for n in range(20)))
    with Fleet(dsn, "--burst") as fleet:
        assert fleet.process.wait(30) == 0
    assert sorted(map(int, told(db, "quick"))) == list(range(20))


def test_delayed_job_waits_for_its_time(dsn: str, db: Db) -> None:
    """A delay is kept by the database's clock; the job runs once it is due."""
    enqueue(handlers.quick.options(delay=0.3).job(n=1), handlers.quick.options(delay=3600).job(n=2))
    due = db.execute("select min(run_at) from fastq.scheduled").fetchone()
    with Fleet(dsn):
        wait_told(db, "quick")
        late = db.execute("select now() >= %s", due).fetchone()
        assert late == (True,)
        until("only the later one", lambda: states(db) == {"scheduled": 1})
    assert told(db, "quick") == ["1"]


def test_priorities_go_first(dsn: str, db: Db) -> None:
    """Of what waits, priority 0 runs before priority 9, whatever came first."""
    enqueue(
        *(handlers.quick.options(priority=9).job(n=9) for _ in range(5)),
        *(handlers.quick.options(priority=0).job(n=0) for _ in range(5)),
    )
    with Fleet(dsn, "-c", "1", "-b", "1", "--prefetch-ms", "0"):
        wait_told(db, "quick", 10)
    assert told(db, "quick") == ["0"] * 5 + ["9"] * 5
