"""`fastq jobs` as a user types it, and the pages docs/jobs.md and docs/queues.md, run as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import test_readme
from psycopg import conninfo
from test_readme import Block, Reader, blocks

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]
reader = test_readme.reader


def fastq(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `fastq …` with nobody to answer questions."""
    done = subprocess.run(
        [sys.executable, "-m", "fastq", *args],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def told(*args: str, code: int = 0) -> Any:
    """Return the one JSON object that `fastq … --json` writes."""
    return json.loads(fastq(*args, "--json", code=code).stdout)


def put_ready(db: Db, *, queue: str = "default", payload: str = '{"n": 1}') -> int:
    """Insert a ready job."""
    row = db.execute("select fastq.enqueue('t', %s, queue => %s)", [payload, queue]).fetchone()
    assert row is not None
    return int(row[0])


def put_failed(db: Db, *, queue: str = "default", task: str = "t", message: str = "no such file") -> int:
    """Insert a job that failed for good."""
    error = {
        "type": "OSError",
        "message": message,
        "traceback": "File jobs.py\nOSError",
        "attempt": 4,
        "at": "2026-01-02",
    }
    row = db.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) values (0, nextval('fastq.pos'), 'failed', 4, 4, 1000, %s, 'g', %s, '{\"user\": \"Zoë\"}', %s)"
        " returning id",
        [queue, task, json.dumps({"errors": [error]})],
    ).fetchone()
    assert row is not None
    return int(row[0])


def put_running(db: Db) -> int:
    """Insert a lease with one job."""
    db.execute(
        "insert into fastq.lease (shard, id, worker, queue, priority, group_key, batch)"
        """ values (0, 1, 7, 'default', 4, '', '[[5,"t",0,0,{}]]')"""
    )
    return 5


def states(db: Db) -> dict[int, str]:
    """Return every job's state."""
    return dict(db.execute("select id, state from fastq.job").fetchall())


def test_jobs_are_listed_for_people_and_for_machines(db: Db) -> None:
    """A table with the last error, an object with all there is; filters; more than the limit is said."""
    failed, ready, running = put_failed(db, queue="mail"), put_ready(db), put_running(db)
    lines = fastq("jobs", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        [str(running), "running"],
        [str(ready), "ready"],
        [str(failed), "failed"],
    ]
    assert lines[-1].endswith("OSError: no such file")
    found = told("jobs", "list", "--state", "failed", "--state", "ready", "--queue", "mail", "--error", "such")
    assert ([job["id"] for job in found["jobs"]], found["more"]) == ([failed], False)
    assert found["jobs"][0]["args"] == {"user": "Zoë"}
    assert told("jobs", "list", "--limit", "1")["more"] is True
    assert "more than 1" in fastq("jobs", "list", "--limit", "1").stderr
    assert fastq("jobs", "list", "--queue", "none").stdout == "No such jobs.\n"


def test_a_job_is_shown_with_all_that_is_known(db: Db) -> None:
    """State, arguments, times, errors and the traceback; the same as an object; what is gone is exit 1."""
    failed, running = put_failed(db), put_running(db)
    shown = fastq("jobs", "show", str(failed)).stdout
    for part in (
        f"job {failed}  failed",
        '{"user":"Zoë"}',
        "group g",
        "attempt 4, 2026-01-02",
        "File jobs.py\nOSError",
    ):
        assert part in shown
    as_object = told("jobs", "show", str(failed))
    assert (as_object["state"], as_object["errors"][0]["type"]) == ("failed", "OSError")
    assert "worker    7" in fastq("jobs", "show", str(running)).stdout
    assert "there is no job 99" in fastq("jobs", "show", "99", code=1).stderr


def test_jobs_are_retried_by_id(db: Db) -> None:
    """What could not be done is said for each, and is exit 1."""
    failed, ready = put_failed(db), put_ready(db)
    assert fastq("jobs", "retry", str(failed)).stdout == f"retried job {failed}\n"
    done = fastq("jobs", "retry", str(failed), "99", code=1)
    assert f"job {failed} was not retried: it is ready" in done.stderr
    assert "job 99 was not retried: it is gone" in done.stderr
    answer = told("jobs", "retry", str(ready), code=1)
    assert answer == {"retried": 0, "jobs": [{"id": ready, "outcome": None, "state": "ready"}]}


def test_jobs_are_retried_by_what_they_are(db: Db) -> None:
    """With a filter at once, up to a limit; all of them only with --yes."""
    for _ in range(3):
        put_failed(db, task="mail.send", message="timed out")
    other = put_failed(db)
    assert fastq("jobs", "retry", "--error", "timed out", "--limit", "1").stdout == "retried 1 job\n"
    assert told("jobs", "retry", "--task", "mail.send", "--state", "failed") == {"retried": 2}
    assert "give --yes" in fastq("jobs", "retry", "--all", code=2).stderr
    assert states(db)[other] == "failed"
    assert told("jobs", "retry", "--all", "--yes") == {"retried": 1}


def test_jobs_are_cancelled(db: Db) -> None:
    """Those that wait are, those that run will be, those that ended are not."""
    ready, failed, running, mail = put_ready(db), put_failed(db), put_running(db), put_ready(db, queue="mail")
    done = fastq("jobs", "cancel", str(ready), str(running), str(failed), code=1)
    assert done.stdout.splitlines() == [f"cancelled job {ready}", f"cancelling job {running}"]
    assert f"job {failed} was not cancelled: it is failed" in done.stderr
    assert "cancelling" in fastq("jobs", "list", "--state", "running").stdout
    assert "running, to be cancelled" in fastq("jobs", "show", str(running)).stdout
    assert "nothing was cancelled" in fastq("jobs", "cancel", "--queue", "mail", code=2).stderr
    assert states(db)[mail] == "ready"
    assert told("jobs", "cancel", "--queue", "mail", "--yes") == {"cancelled": 1, "cancelling": 0}
    assert fastq("jobs", "cancel", "--all", "--yes").stdout == "cancelled 0 jobs, 1 cancelling\n"


def test_jobs_are_deleted(db: Db) -> None:
    """By id, or by filter with --yes; what runs stays."""
    ready, failed, running = put_ready(db), put_failed(db), put_running(db)
    assert "it is running" in fastq("jobs", "delete", str(running), code=1).stderr
    assert fastq("jobs", "delete", str(ready)).stdout == f"deleted job {ready}\n"
    question = fastq("jobs", "delete", "--state", "failed", code=2).stderr
    assert "Delete all jobs with --state failed that do not run?" in question
    assert states(db) == {failed: "failed", running: "running"}
    assert told("jobs", "delete", "--all", "--yes") == {"deleted": 1}
    assert states(db) == {running: "running"}


@pytest.mark.parametrize("command", ["retry", "cancel", "delete"])
@pytest.mark.parametrize(
    "args", [[], ["--yes"], ["--limit", "5"], ["1", "--all"], ["1", "--queue", "q"], ["--all", "--queue", "q", "--yes"]]
)
def test_which_jobs_must_be_clear(db: Db, command: str, args: list[str]) -> None:
    """Nothing, or ids and a filter, or a filter and --all, is a usage error."""
    put_ready(db)
    put_failed(db)
    before = states(db)
    fastq("jobs", command, *args, code=2)
    assert states(db) == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["jobs", "retry", "--state", "ready"], "ready jobs cannot be retried"),
        (["jobs", "cancel", "--state", "failed", "--yes"], "failed jobs cannot be cancelled"),
        (["jobs", "delete", "--state", "running", "--yes"], "running jobs cannot be deleted"),
        (["jobs", "list", "--state", "asleep"], "asleep"),
        (["jobs", "show", "seven"], "seven"),
    ],
)
def test_what_cannot_be_done_is_told(db: Db, args: list[str], said: str) -> None:
    """In one sentence, exit 2."""
    assert said in fastq(*args, code=2).stderr


def test_a_role_without_the_right_is_told(db: Db, dsn: str) -> None:
    """No traceback: what PostgreSQL refused."""
    role = f"looker_{uuid4().hex[:8]}"
    db.execute(f"create role {role} login".encode())
    try:
        db.execute(f"grant usage on schema fastq to {role}".encode())
        db.execute(f"grant select on all tables in schema fastq to {role}".encode())
        user = conninfo.make_conninfo(dsn, user=role)
        assert "permission denied" in fastq("jobs", "retry", "1", "--dsn", user, code=1).stderr
        assert fastq("jobs", "list", "--dsn", user).stdout == "No such jobs.\n"
    finally:
        db.execute(f"drop owned by {role}".encode())
        db.execute(f"drop role {role}".encode())


def test_missing_schema_and_server(empty_dsn: str) -> None:
    """Exit 4 and 3, as everywhere."""
    assert "run `fastq migrate`" in fastq("jobs", "list", "--dsn", empty_dsn, code=4).stderr
    fastq("jobs", "list", "--dsn", "host=127.0.0.1 port=1", code=3)


@pytest.mark.parametrize("page", ["docs/jobs.md", "docs/queues.md"])
def test_every_block_does_what_the_page_says(reader: Reader, page: str) -> None:
    """Files, commands, SQL and workers of the page run in its order, as typed."""
    said = [reader.follow(block) for block in blocks(page)]
    if page == "docs/jobs.md":
        assert any("TimeoutError: the bank did not answer about order 3" in text for text in said)
        assert any("retried 1 job\nretried 2 jobs\ncancelled 3 jobs\n" in text for text in said)
    else:
        assert any("deleted 1 waiting job of mail" in text for text in said)


def test_the_example_does_what_it_says(reader: Reader) -> None:
    """It cancels one, a worker runs the others, and the one that failed is retried."""
    shutil.copy(test_readme.EXAMPLES / "steering.py", reader.directory)
    said = reader.follow(Block("run: own server", "fastq migrate\npython steering.py\n"))
    assert "order 3 is cancelled\n" in said
    assert "for {'order': 1} is ready" in said
    with psycopg.connect(reader.own, autocommit=True) as conn:
        conn.execute("select fastq.delete_jobs(states => '{cancelled}')")
    said = reader.follow(Block("run: own server, until done steering.charge", "fastq worker steering:app\n"))
    assert "charged order 1" in said
    assert reader.follow(Block("run: own server", "python steering.py retry\n")) == "retried 1\n"


def test_whatever_stands_in_meta_is_shown_as_far_as_it_makes_sense(db: Db) -> None:
    """The column takes any JSON; one strange row hides no other."""
    strange = ["[1]", '"text"', '{"errors": 5}', '{"errors": [1, {"type": 7, "traceback": 8}], "crashes": "x"}']
    strange += ['{"unique": "x", "headers": [1]}']
    for number, meta in enumerate(strange, 1):
        with suppress(psycopg.errors.CheckViolation):  # what the door refuses cannot be shown
            db.execute(
                "insert into fastq.finished"
                " (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, meta)"
                " values (0, %s, 'failed', 4, 4, 1000, 'default', '', 't', %s)",
                [number, meta],
            )
    known = [job["id"] for job in told("jobs", "list")["jobs"]]
    assert len(fastq("jobs", "list").stdout.splitlines()) == 1 + len(known)
    for job in known:
        assert fastq("jobs", "show", str(job)).stdout.startswith(f"job {job}  failed")
