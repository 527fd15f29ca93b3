"""`fastq status` as a user types it, and the counting behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from fastq.insights.survey import Count, QueueSurvey, survey
from fastq.schema.files import newest

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


def status(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `fastq status …`."""
    done = subprocess.run([sys.executable, "-m", "fastq", "status", *args], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def fill(db: Db, queue: str, jobs: int, *, priority: int = 4) -> None:
    """Put ready jobs into a queue."""
    db.execute(
        "insert into fastq.ready_0 (queue, priority, task) select %s, %s, 't' from generate_series(1, %s)",
        [queue, priority, jobs],
    )


def queue_of(db: Db, name: str, **options: int) -> QueueSurvey:
    """Survey one queue."""
    return next(q for q in survey(db, **options).queues if q.name == name)


def test_empty_database_says_what_to_do_next(db: Db) -> None:
    """No jobs, no workers: the commands for both."""
    done = status()
    assert done.returncode == 0
    assert "No jobs, no workers" in done.stdout
    assert "fastq enqueue MODULE:app TASK" in done.stdout


@pytest.mark.parametrize(
    "counters", ['{"claimed": 18446744073709551616, "failed": 3}', "[1]", '{"claimed": 1e400}', "7"]
)
def test_workers_with_odd_counters_are_shown(db: Db, counters: str) -> None:
    """So are counters that nobody can read; the others of that worker are told."""
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, expires_at, counters) values (0, 1, 'h', 1, now(), %s)",
        [counters],
    )
    assert status().returncode == 0
    (worker,) = json.loads(status("--json").stdout)["workers"]
    assert worker["counters"] == ({"failed": 3} if "failed" in counters else {} if "{" in counters else None)


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "294276-12-31 23:59:59+00"])
def test_workers_from_the_end_of_time_are_shown(db: Db, moment: str) -> None:
    """Whoever may insert a worker may write such times: `status`, with and without --json, and `workers list` go on."""
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, started_at, expires_at) values (0, 1, 'h', 1, %s, %s)",
        [moment] * 2,
    )
    assert status().returncode == 0
    seen = json.loads(status("--json").stdout)
    assert len(seen["workers"]) == 1
    done = subprocess.run(
        [sys.executable, "-m", "fastq", "workers", "list"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_sizes_are_those_of_all_segments(db: Db) -> None:
    """What ready and lease take is the sum of their tables, TOAST included."""
    before = survey(db).fleet
    db.execute("insert into fastq.ready_2 (task, payload) select 't', '{}' from generate_series(1, 3000)")
    db.execute(
        "insert into fastq.lease_3 (shard, id, worker, queue, priority, group_key, batch)"
        " select 0, 1, 1, 'q', 4, '',"
        " convert_to(json_agg(json_build_array(n, 't', 0, 1, gen_random_uuid()))::text, 'UTF8')"
        " from generate_series(1, 3000) n"
    )
    after = survey(db).fleet
    assert after.ready_bytes - before.ready_bytes > 100_000
    assert after.lease_bytes - before.lease_bytes > 50_000


def test_every_state_is_counted_by_queue(db: Db) -> None:
    """Ready, running, scheduled, retrying and failed jobs have their columns; claimed jobs that are done do not run."""
    fill(db, "mail", 3)
    db.execute(
        "insert into fastq.scheduled (shard, run_at, queue, task) values (0, now() + interval '1h', 'mail', 't')"
    )
    db.execute(
        "insert into fastq.scheduled (shard, run_at, queue, task, reason)"
        " select 0, now(), 'mail', 't', 'retrying' from generate_series(1, 2)"
    )
    db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " select 0, n, s, 4, 1, 0, 'mail', '', 't' from (values (1, 'failed'), (2, 'failed'), (3, 'succeeded')) v(n, s)"
    )
    db.execute(
        "insert into fastq.lease (shard, id, worker, queue, priority, group_key, batch, done)"
        """ values (0, 1, 1, 'mail', 4, '', '[[1,"t",0,0,{}],[2,"t",0,0,{}],[3,"t",0,0,{}]]', '{1}')"""
    )
    done = status("--json")
    (mail,) = json.loads(done.stdout)["queues"]
    assert 0 <= mail.pop("oldest_s") < 60
    assert mail == {
        "name": "mail", "paused": False, "exact": True,
        "ready": 3, "running": 2, "scheduled": 1, "retrying": 2, "waiting": 0, "failed": 2, "kept": 1,
    }  # fmt: skip


@pytest.mark.parametrize("state", ["discarded", "succeeded", "cancelled"])
def test_kept_job_is_a_job(db: Db, state: str) -> None:
    """A queue with nothing but jobs that are kept is shown, with how many; nobody says that there are none."""
    assert "KEPT" not in status().stdout
    db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " select 0, n, %s, 4, 1, 0, 'mail', '', 't' from generate_series(1, 3) n",
        [state],
    )
    shown = status().stdout
    assert "No jobs" not in shown
    header, mail = shown.splitlines()[:2]
    assert mail[: header.index("KEPT") + len("KEPT")].endswith(" 3")
    assert queue_of(db, "mail", count_most=1000).kept == Count(3)


def test_lines_of_ordered_groups(db: Db) -> None:
    """Those that wait for others of their group have a column of their own, where there are any."""
    assert "WAITING" not in status().stdout
    for _ in range(3):
        db.execute("select fastq.enqueue('t', queue => 'mail', group_key => 'g', ordered => true)")
    found = queue_of(db, "mail")
    assert (found.ready.jobs, found.waiting.jobs) == (1, 2)
    header, mail = status().stdout.splitlines()[:2]
    assert mail[: header.index("WAITING") + len("WAITING")].endswith(" 2")


def test_table_is_aligned_and_says_that_no_worker_runs(db: Db) -> None:
    """Numbers end where their header ends; thousands are grouped; paused queues say so."""
    fill(db, "mail", 1234)
    db.execute("insert into fastq.queue (name, paused) values ('slow', true)")
    header, mail, slow = status().stdout.splitlines()[:3]
    assert mail.index("1,234") + 5 == header.index("READY") + 5
    assert slow.startswith("slow (paused)")
    assert "start one with `fastq worker MODULE:app`" in status().stdout


def test_workers_and_leader_are_shown(db: Db) -> None:
    """A worker's host, pid, counters and remaining lease; the leader; the schema."""
    counters = {"claimed": 5000, "succeeded": 4999, "failed": 0, "retried": 1, "lost": 0, "returned": 0, "running": 1}
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, name, expires_at, counters)"
        " values (0, 1, 'here', 77, 'blue', now() + interval '20s', %s),"
        " (0, 2, 'there', 78, '', now() - interval '1s', null)",
        [json.dumps(counters)],
    )
    db.execute("insert into fastq.leader values ('steward', 'here:1', now() + interval '10s')")
    shown = status().stdout
    here = next(line.split() for line in shown.splitlines() if line.startswith("here"))
    assert here[:3] == ["here", "77", "blue"]
    assert here[-7:] == ["1", "5,000", "4,999", "0", "1", "0", "0"]
    assert "expired" in next(line for line in shown.splitlines() if line.startswith("there"))
    assert "leader  here:1" in shown
    told = json.loads(status("--json").stdout)
    assert (told["leader"], told["schema"], told["workers"][0]["counters"]) == ("here:1", newest(), counters)


def test_counters_of_another_make_are_unknown(db: Db) -> None:
    """Whatever stands in a worker's row, status shows it."""
    for number, counters in enumerate(["[1]", '{"running": "x", "claimed": null}', '"text"'], 1):
        db.execute(
            "insert into fastq.worker (shard, id, host, pid, name, expires_at, counters)"
            " values (0, %s, 'here', 77, 'blue', now() + interval '20s', %s)",
            [number, counters],
        )
    done = status()
    assert done.returncode == 0
    assert done.stdout.count(" ?") == 3 * 7


def test_missing_schema_is_exit_4(empty_dsn: str) -> None:
    """It says what to run."""
    done = status("--dsn", empty_dsn)
    assert (done.returncode, "run `fastq migrate`" in done.stderr) == (4, True)


def test_unreachable_database_is_exit_3() -> None:
    """One sentence, no traceback."""
    assert status("--dsn", "host=127.0.0.1 port=1").returncode == 3


def test_count_is_exact_below_the_cap(db: Db) -> None:
    """A small queue beside a large one keeps its exact count."""
    fill(db, "large", 30_000)
    fill(db, "small", 7)
    assert queue_of(db, "small", count_most=4000).ready == Count(7)
    assert queue_of(db, "large", count_most=100_000).ready == Count(30_000)


def test_count_at_the_cap_is_exact(db: Db) -> None:
    """Only one job more makes it an estimate."""
    fill(db, "mail", 1000)
    assert queue_of(db, "mail", count_most=1000).ready == Count(1000)
    fill(db, "mail", 1)
    assert queue_of(db, "mail", count_most=1000).ready == Count(1001, exact=False)


def test_count_is_estimated_above_the_cap(db: Db) -> None:
    """A sample of pages tells how many there are; all pages of a table this small."""
    fill(db, "large", 30_000)
    fill(db, "larger", 60_000)
    for name, jobs in (("large", 30_000), ("larger", 60_000)):
        ready = queue_of(db, name, count_most=4000).ready
        assert not ready.exact
        assert abs(ready.jobs - jobs) <= 0.02 * jobs


def test_waiting_and_failed_jobs_are_estimated_above_the_cap(db: Db) -> None:
    """Scheduled and failed jobs have caps of their own."""
    db.execute("insert into fastq.scheduled (shard, run_at, task) select 0, now(), 't' from generate_series(1, 5000)")
    db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " select 0, n, 'failed', 4, 1, 0, 'default', '', 't' from generate_series(1, 6000) n"
    )
    found = queue_of(db, "default", count_most=1000)
    assert (found.scheduled, found.failed) == (Count(5000, exact=False), Count(6000, exact=False))


def test_oldest_is_found_at_the_front_of_any_priority(db: Db) -> None:
    """A starving job of low priority is the oldest although it stands last."""
    fill(db, "mail", 100, priority=0)
    db.execute(
        "insert into fastq.ready_0 (queue, priority, task, enqueued_ms)"
        " values ('mail', 9, 't', (extract(epoch from now()) * 1000 - 3600000)::int8)"
    )
    assert 3599 < (queue_of(db, "mail", count_most=1000).oldest_s or 0) < 3700


def test_survey_leaves_the_connection_as_it_was(db: Db) -> None:
    """It may write again afterwards."""
    survey(db)
    fill(db, "mail", 1)
    assert queue_of(db, "mail").ready == Count(1)
