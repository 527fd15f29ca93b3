"""`fastq queues` and `fastq workers` as a user types them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from test_jobs_cli import fastq, put_failed, put_ready, put_running, states, told

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


def test_queues_are_listed(db: Db) -> None:
    """Those that have jobs, and those that are paused."""
    put_ready(db, queue="mail")
    assert fastq("queues", "pause", "slow", "mail").stdout == "paused slow\npaused mail\n"
    lines = fastq("queues", "list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["QUEUE", "READY"], ["mail", "(paused)"], ["slow", "(paused)"]]
    mail, slow = told("queues", "list")["queues"]
    assert (mail["name"], mail["ready"], mail["paused"], slow["paused"]) == ("mail", 1, True, True)


def test_no_queues(db: Db) -> None:
    """It says so."""
    assert fastq("queues", "list").stdout == "No queues.\n"
    assert told("queues", "list") == {"queues": []}


def test_pause_and_resume_say_what_they_changed(db: Db) -> None:
    """Safe to repeat."""
    fastq("queues", "pause", "mail")
    assert fastq("queues", "pause", "mail").stdout == "mail was paused already\n"
    assert told("queues", "resume", "mail") == {"queues": [{"name": "mail", "paused": False, "changed": True}]}
    assert fastq("queues", "resume", "mail").stdout == "mail was not paused\n"
    assert told("queues", "pause", "mail")["queues"][0]["changed"] is True
    fastq("queues", "pause", code=2)
    fastq("queues", "pause", "", code=2)


@pytest.mark.parametrize("act", ["pause", "resume", "set", "purge"])
def test_queue_that_nobody_knows_gets_a_note(db: Db, act: str) -> None:
    """A typo in a queue's name is no error, since a queue can be paused before its first job, but it is said."""
    put_ready(db, queue="mail")
    more = ["--yes"] if act == "purge" else []
    assert "note: 'mial' is new here" in (done := fastq("queues", act, "mial", *more)).stderr
    assert "did you mean 'mail'?" in done.stderr
    assert fastq("queues", act, "mail", *more).stderr == ""


def test_purge_deletes_what_waits_once_it_is_sure(db: Db) -> None:
    """Not without --yes; what runs, is kept or is of other queues stays."""
    running, failed, other = put_running(db), put_failed(db, queue="mail"), put_ready(db)
    for _ in range(3):
        put_ready(db, queue="mail")
    assert "nothing was deleted: answer y, or give --yes" in fastq("queues", "purge", "mail", code=2).stderr
    assert len(states(db)) == 6
    assert fastq("queues", "purge", "mail", "none", "--yes").stdout == (
        "deleted 3 waiting jobs of mail\ndeleted 0 waiting jobs of none\n"
    )
    assert states(db) == {running: "running", failed: "failed", other: "ready"}
    assert told("queues", "purge", "default", "--yes") == {"deleted": 1, "queues": [{"name": "default", "deleted": 1}]}


def test_workers_are_listed(db: Db) -> None:
    """Host, pid and name; counters that nobody has written yet are unknown; none is said."""
    assert fastq("workers", "list").stdout.startswith("No workers")
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, name, expires_at)"
        " values (0, 1, 'here', 77, 'blue', now() + interval '20s')"
    )
    header, here = fastq("workers", "list").stdout.splitlines()
    assert header.split()[:3] == ["HOST", "PID", "NAME"]
    assert here.split()[:3] == ["here", "77", "blue"]
    (worker,) = told("workers", "list")["workers"]
    assert (worker["id"], worker["host"], worker["counters"]) == (1, "here", None)
