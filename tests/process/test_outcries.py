"""Nothing fails in silence: what a worker says of jobs that did not succeed, one by one and in its totals."""

from __future__ import annotations

import re
from typing import Any

import batches
import handlers
import psycopg
import pytest
from fleet import Fleet
from probe import Db, enqueue, states, wait_empty, wait_told

pytestmark = pytest.mark.process

ENDED = r"all have ended: (\d[\d,]*) succeeded, (\d+) failed, (\d+) retried, (\d+) returned, (\d+) lost"


def burst(dsn: str, *options: str, target: str = "handlers:app") -> tuple[str, list[int]]:
    """Run everything that is ready; return the log and the totals that it ends with."""
    with Fleet(dsn, "--burst", *options, target=target) as fleet:
        assert fleet.process.wait(60) == 0
        line = fleet.wait_line("all have ended")
    found = re.search(ENDED, line)
    assert found, line
    return "\n".join(fleet.lines), [int(number.replace(",", "")) for number in found.groups()]


def told(log: str, level: str, pattern: str) -> int:
    """Return how many lines of a level match."""
    return len(re.findall(rf"^\S+ {level} .*{pattern}", log, re.MULTILINE))


def test_a_failed_job_is_one_error_and_its_retries_are_warnings(dsn: str, db: Db) -> None:
    """Each with the exception and where it came from; what succeeded is only counted."""
    (job, *_) = enqueue(handlers.failing.job(n=1), *(handlers.nothing.job(n=n) for n in range(3)))
    with Fleet(dsn) as fleet:
        fleet.wait_line("failed for good")
        assert fleet.stop() == 0
        ended = fleet.wait_line("all have ended")
        drained = fleet.wait_line("drained: ")
    log = "\n".join(fleet.lines)
    assert told(log, "WARNING", rf"job {job} of handlers.failing failed, and runs again in 0 s: ValueError: no 1") == 2
    assert told(log, "ERROR", rf"job {job} of handlers.failing failed for good after 3 attempts: ValueError: no 1") == 1
    assert log.count('raise ValueError(f"no {n}")') == 3
    assert "handlers.nothing" not in log
    assert ended.endswith("all have ended: 3 succeeded, 1 failed, 2 retried, 0 returned, 0 lost")
    assert drained.endswith("drained: 3 succeeded, 1 failed, 2 retried, 0 returned, 0 lost")


def test_a_burst_ends_with_totals(dsn: str, db: Db) -> None:
    """Exit code 0 says that everything was run, the last line how it ended; a discarded job says why it was."""
    enqueue(handlers.endless.job(), handlers.flow.job(kind="discard"), *(handlers.nothing.job(n=n) for n in range(9)))
    log, totals = burst(dsn)
    assert totals == [9, 2, 0, 0, 0]
    assert told(
        log, "ERROR", "handlers.endless failed for good .*: TimeoutError: ran longer than its timeout of 0.05 s"
    )
    assert told(log, "INFO", "handlers.flow was discarded: Discard: not wanted")


def test_many_failures_are_few_lines_and_a_count(dsn: str, db: Db) -> None:
    """A task that fails all the time does not fill the disk, and the log says how often it did."""
    enqueue(*(handlers.flow.job(kind="exit") for _ in range(300)))
    log, totals = burst(dsn)
    assert totals[:2] == [0, 300]
    lines = told(log, "ERROR", r"worker +\d+ job .* of handlers.flow failed for good after 1 attempt: SystemExit: 3")
    counts = re.findall(r"ERROR .*handlers\.flow: (\d+) more like this within \d+ s, the last one: job", log)
    assert lines + sum(map(int, counts)) == 300
    assert lines <= 5 * (len(counts) + 1)


def test_a_batch_handler_is_heard(dsn: str, db: Db) -> None:
    """Each job that it failed has its own line."""
    with batches.app as app:
        jobs = app.enqueue_many_sync(batches.picky.job(kind="fail") for _ in range(2))
    with Fleet(dsn, target="batches:app") as fleet:
        for job in jobs:
            fleet.wait_line(
                f"WARNING .*job {job} of batches.picky failed, and runs again in .*: BatchItemFailed: not this"
            )
            fleet.wait_line(
                f"ERROR .*job {job} of batches.picky failed for good after 2 attempts: BatchItemFailed: not this"
            )


def test_a_payload_that_cannot_be_read_is_heard(dsn: str, db: Db) -> None:
    """Whether it is no JSON to us, or does not fit the handler's signature."""
    db.execute("select fastq.enqueue('handlers.nothing', '{\"n\": \"\\ud800\"}')")
    db.execute("select fastq.enqueue('handlers.typed', '{\"at\": 1}')")
    log, totals = burst(dsn)
    assert totals[:2] == [0, 2]
    assert told(
        log, "ERROR", "handlers.nothing failed for good after 1 attempt: Unreadable: the payload cannot be decoded"
    )
    assert told(log, "ERROR", "handlers.typed failed for good after 1 attempt: ValidationError: ")


@pytest.mark.parametrize("task", [handlers.suicide.job(n=1), handlers.stubborn.job(n=1)], ids=["kill", "hard timeout"])
def test_a_job_that_kills_its_worker_is_heard(dsn: str, db: Db, task: Any) -> None:
    """By the steward; and the host's totals have it, though the worker could not count it."""
    (job,) = enqueue(task)
    db.execute("""update fastq.ready set id = pos, meta = '{"crashes": 2}'""")  # the third death is the last
    with Fleet(dsn) as fleet:
        fleet.wait_line(
            f"ERROR .*job {job} of {task.task} failed for good .*: WorkerDied: the worker process ended by SIG"
        )
        fleet.stop()
        assert ", 1 failed, " in fleet.wait_line("all have ended")
    assert states(db) == {"failed": 1}


def test_the_level_may_silence_it(dsn: str, db: Db) -> None:
    """At `error` there are only final failures, at `debug` successes too."""
    enqueue(handlers.failing.job(n=1))
    with Fleet(dsn, "--log-level", "error") as fleet:
        fleet.wait_line("failed for good")
        fleet.stop()
    assert [line for line in fleet.lines if "WARNING" in line or "INFO" in line] == []
    (job,) = enqueue(handlers.quick.job(n=1))
    with Fleet(dsn, "--log-level", "debug") as fleet:
        fleet.wait_line(f"DEBUG .*job {job} of handlers.quick succeeded")


def test_a_drain_counts_what_it_gives_back(dsn: str, db: Db) -> None:
    """Jobs that were claimed and not started are back in line, and the totals say so."""
    with Fleet(dsn, "-c", "2", "-b", "8", "--prefetch-ms", "60000") as fleet:
        enqueue(*(handlers.quick.job(n=n) for n in range(100)))
        wait_empty(db)  # now it knows its rate, and prefetches
        enqueue(*(handlers.gated.job(n=n) for n in range(8)))
        wait_told(db, "started", 2)
        fleet.process.terminate()
        fleet.wait_line("draining")
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("insert into gate values (true)")
        assert fleet.process.wait(30) == 0
        ended = fleet.wait_line("all have ended")
    found = re.search(ENDED, ended)
    assert found
    assert [int(number) for number in found.groups()] == [102, 0, 0, 6, 0]
    assert states(db) == {"ready": 6}
