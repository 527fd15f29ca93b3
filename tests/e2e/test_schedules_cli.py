"""`fastq schedules`: what is shown of recurring jobs, and what may be done with them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import psycopg
import pytest

from fastq.cron import Schedule, Timing
from fastq.protocol import cron

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def declared(dsn: str) -> None:
    """Let a worker have declared two schedules."""

    async def register() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            timing = Timing(expression="30 9 * * MON-FRI", tz="Europe/Athens")
            both = [Schedule(name=name, timing=timing, task=name, queue="q", priority=3) for name in ("a.one", "a.two")]
            await cron.register(conn, both, owner="jobs:app")

    asyncio.run(register())


def fastq(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(
        [sys.executable, "-m", "fastq", "schedules", *args], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), (done.stdout, done.stderr)
    return done


def seen(db: Db, name: str, ago: str) -> None:
    """Let it be so long ago that a worker declared a schedule."""
    db.execute("update fastq.cron set seen_at = now() - %s::interval where name = %s", [ago, name])


def states(db: Db) -> dict[str, str]:
    """Return what `list` says of each."""
    return {row["name"]: row["state"] for row in json.loads(fastq("list", "--json").stdout)["schedules"]}


def test_run_enqueues_a_job_now(db: Db) -> None:
    """Of its task, into its queue, with its priority; its next occurrence stays; what is not there is said."""
    before = db.execute("select next_at from fastq.cron where name = 'a.one'").fetchall()
    (told,) = json.loads(fastq("run", "a.one", "--json").stdout)["schedules"]
    found = db.execute("select id, task, queue, priority from fastq.job").fetchall()
    assert found == [(told["job"], "a.one", "q", 3)]
    assert db.execute("select next_at from fastq.cron where name = 'a.one'").fetchall() == before
    assert "there is no schedule" in fastq("run", "a.three", code=2).stderr


def test_list_shows_when_and_whose(db: Db) -> None:
    """One line each, with the app that declares it; orphans and ended ones are told apart."""
    header, first, _ = fastq("list").stdout.splitlines()
    assert header.split() == ["NAME", "WHEN", "NEXT", "LAST", "STATE", "APP"]
    assert first.startswith("a.one  30 9 * * MON-FRI Europe/Athens")
    assert first.split()[-2:] == ["on", "jobs:app"]
    seen(db, "a.one", "2 minutes")
    assert states(db) == {"a.one": "orphan", "a.two": "on"}
    seen(db, "a.one", "8 days")
    assert states(db) == {"a.one": "ended", "a.two": "on"}
    db.execute("delete from fastq.cron")
    assert fastq("list").stdout == "No schedules: @app.cron makes some.\n"


def test_list_shows_what_it_cannot_read(db: Db) -> None:
    """A row of a stranger's breaks no list, and steers no terminal."""
    db.execute("insert into fastq.cron (name, next_at, spec) values (e'\\x1b[31mred', now(), '[1]')")
    assert "\\x1b[31mred  None None" in fastq("list").stdout


def test_pause_and_resume(db: Db) -> None:
    """A paused one says so; resumed, it waits for its next occurrence, not for those that fell into the pause."""
    assert fastq("pause", "a.one").stdout == "paused a.one\n"
    assert fastq("pause", "a.one").stdout == "a.one was paused already\n"
    assert states(db) == {"a.one": "paused", "a.two": "on"}
    db.execute("update fastq.cron set next_at = now() - interval '30 days'")
    assert fastq("resume", "a.one").stdout.startswith("resumed a.one, next at ")
    assert fastq("resume", "a.one").stdout == "a.one was not paused\n"
    assert db.execute("select next_at > now() from fastq.cron where name = 'a.one'").fetchone() == (True,)
    assert json.loads(fastq("resume", "a.one", "--json").stdout)["schedules"][0]["changed"] is False


def test_only_what_nobody_declares_can_be_removed(db: Db) -> None:
    """One that workers declare would be back at once: the error says what to do instead."""
    refused = fastq("remove", "a.one", "--yes", code=2).stderr
    assert "workers of jobs:app declare the schedule 'a.one', or did within the last minute" in refused
    assert "take it out of the code, or pause it" in refused
    seen(db, "a.one", "2 minutes")
    assert "give --yes" in fastq("remove", "a.one", code=2).stderr
    assert fastq("remove", "a.one", "--yes").stdout == "removed a.one\n"
    assert states(db) == {"a.two": "on"}


@pytest.mark.parametrize("command", ["pause", "resume", "remove"])
def test_a_name_that_nobody_knows(command: str) -> None:
    """Is told in a sentence."""
    yes = ["--yes"] if command == "remove" else []
    assert (
        "there is no schedule 'nosuch'; `fastq schedules list` shows all"
        in fastq(command, "nosuch", *yes, code=2).stderr
    )


def test_one_that_is_made_at_run_time(db: Db) -> None:
    """It stands beside the declared ones, with its arguments; set again it changes; removed it is gone."""
    told = json.loads(fastq("set", "report-42", "0 7 * * MON", "shop.report", "--args", '{"n": 42}', "--json").stdout)
    (row,) = told["schedules"]
    written = db.execute("select name, next_at from fastq.cron where owner = ''").fetchall()
    assert written == [(row["name"], datetime.fromisoformat(row["next_at"]))]
    assert states(db)["report-42"] == "on"
    fastq("run", "report-42")
    assert db.execute("select task, payload, queue from fastq.job").fetchall() == [
        ("shop.report", {"n": 42}, "default")
    ]
    assert "set report-42, next at" in fastq("set", "report-42", "0 8 * * MON", "shop.report", "--queue", "slow").stdout
    spec = db.execute("select spec from fastq.cron where name = 'report-42'").fetchone()
    assert spec
    assert (spec[0]["expression"], spec[0]["queue"], spec[0].get("args")) == ("0 8 * * MON", "slow", None)
    fastq("remove", "report-42", "--yes")
    assert "report-42" not in states(db)


def test_what_cannot_be_set(db: Db) -> None:
    """One sentence, and nothing is changed: a bad expression, zone or arguments, a name that an app declares."""
    for args, says in (
        (("x", "nonsense", "t"), "is no cron expression"),
        (("x", "* * * * *", "t", "--tz", "Moon"), "there is no time zone"),
        (("x", "* * * * *", "t", "--args", "[1]"), "must be a JSON object"),
        (("x", "* * * * *", "t", "--args", "{"), "is no JSON"),
    ):
        assert says in fastq("set", *args, code=2).stderr
    assert "workers of jobs:app declare the schedule a.one" in fastq("set", "a.one", "* * * * *", "t", code=1).stderr
    assert set(states(db)) == {"a.one", "a.two"}
