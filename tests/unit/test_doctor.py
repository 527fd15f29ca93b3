"""What `fastq doctor` makes of what it sees."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fastq.insights.doctor import Finding, Level, diagnose
from fastq.insights.facts import Facts, Holder, Server, TableFacts
from fastq.insights.survey import Count, FleetSurvey, QueueSurvey, Survey, WorkerSurvey
from fastq.protocol.limits import QueueSettings
from fastq.protocol.schedules import ScheduleRow

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = Server(180000, True, True, "on", 100, 10, 1, NOW.timestamp(), False, "l")
WORKER = WorkerSurvey(id=1, host="h", pid=2, name="", age_s=60.0, left_s=10.0, counters=None)
SIZES = dict.fromkeys(("ready_bytes", "lease_bytes", "scheduled_bytes", "finished_bytes"), 0)
FLEET = FleetSurvey(schema=1, shards=1, away=(), leader="h:1", **SIZES)


def queue(**given: Any) -> QueueSurvey:
    """Return a queue without a job, but for what is given."""
    states = ("ready", "running", "scheduled", "retrying", "waiting", "failed", "kept")
    return QueueSurvey(**{"name": "q", "paused": False, "oldest_s": None, **dict.fromkeys(states, Count()), **given})


def schedule(**given: Any) -> ScheduleRow:
    """Return a schedule that is well, but for what is given."""
    row = ScheduleRow("s", "* * * * *", "UTC", "t", "q", None, NOW, None, "app", NOW, False, False, False)
    return replace(row, **given)


def facts(**given: Any) -> Facts:
    """Return the facts of a fleet that is well, but for what is given."""
    survey = Survey(
        queues=given.pop("queues", ()), workers=given.pop("workers", (WORKER,)), fleet=given.pop("fleet", FLEET)
    )
    server = SERVER._replace(**given.pop("server", {}))
    return Facts(survey=survey, server=server, **{"schedules": [schedule()], "host": "here", **given})


def telling(**about: Any) -> WorkerSurvey:
    """Return a worker that tells something about itself."""
    return replace(WORKER, about=about)


WRONG = {
    "F101": {"other_functions": ["functions/cancel"]},
    "F102": {"unreadable": ["finished"]},
    "F110": {"server": {"standby": True}},
    "F111": {"server": {"fsync": False}},
    "F112": {"server": {"synchronous_commit": "off"}},
    "F113": {"server": {"autovacuum": False}},
    "F114": {"server": {"compression": ""}},
    "F115": {"server": {"used": 95}},
    "F116": {"clock_s": -30.0},
    "F117": {"server": {"connections": 11, "used": 1}},
    "F118": {"fleet": replace(FLEET, shards=3, away=(1,))},
    "F120": {"holders": [Holder("session", "77", "psql", "alice", 900.0, "select 1")]},
    "F121": {"tables": [TableFacts("scheduled", 0, 0, 0, True)]},
    "F122": {"tables": [TableFacts("finished", 10, 900_000, 0, False)]},
    "F123": {"tables": [TableFacts("finished", 10, 0, 2**30, False)]},
    "F130": {"settings": [("role app", "statement_timeout=5s")]},
    "F131": {"settings": [("role app", "default_transaction_read_only=on")]},
    "F132": {"pooled": True},
    "F140": {"workers": (), "queues": (queue(ready=Count(3)),)},
    "F141": {"workers": (WORKER, replace(WORKER, id=2, left_s=-5.0))},
    "F142": {"fleet": replace(FLEET, leader=None)},
    "F143": {"server": {"listeners": 0}},
    "F144": {"workers": (telling(version="1.0"), replace(telling(version="1.1"), id=2))},
    "F150": {"queues": (queue(paused=True, ready=Count(3)),)},
    "F151": {"queues": (queue(ready=Count(3), oldest_s=3600.0),)},
    "F152": {"limits": [QueueSettings(name="q", max_running=0)]},
    "F153": {"queues": (queue(ready=Count(3)),), "workers": (telling(queues=["mail"]),)},
    "F154": {"unknown": [("q", "gone")]},
    "F160": {"failures": 7},
    "F161": {"schedules": [schedule(orphan=True)]},
    "F162": {"schedules": [schedule(paused=True)]},
    "F163": {"server": {"now_s": NOW.timestamp() + 300}},
}


def test_nothing_is_wrong_with_a_fleet_that_is_well() -> None:
    """Not even a note."""
    assert diagnose(facts(queues=(queue(ready=Count(5), oldest_s=1.0),), schedules=[schedule()])) == []


@pytest.mark.parametrize("code", WRONG)
def test_each_thing_that_can_be_wrong(code: str) -> None:
    """It alone is found; it says what, why and what to do."""
    (found,) = diagnose(facts(**WRONG[code]))
    assert found.code == code
    assert found.what
    assert found.why
    assert found.do


def test_the_clock_of_another_host() -> None:
    """Its steward tells how far it is ahead."""
    (found,) = diagnose(facts(workers=(WORKER, replace(WORKER, id=2, host="h2", counters={"clock_ms": -9000}))))
    assert (found.code, found.what) == ("F116", "the clock of h2 is 9 s behind the server's")


def test_a_queue_that_one_of_them_takes() -> None:
    """Whoever says nothing takes all."""
    waiting = {"queues": (queue(ready=Count(3)),)}
    assert diagnose(facts(**waiting, workers=(telling(queues=["mail"]), replace(WORKER, id=2)))) == []
    (found,) = diagnose(facts(**waiting, workers=(telling(exclude_queues=["q"]),)))
    assert found.code == "F153"


def test_the_worst_comes_first() -> None:
    """Errors before warnings before notes."""
    found = diagnose(facts(server={"fsync": False, "compression": "", "listeners": 0}))
    assert [(each.code, each.level) for each in found] == [
        ("F111", Level.ERROR),
        ("F143", Level.WARNING),
        ("F114", Level.NOTE),
    ]


@pytest.mark.parametrize(
    ("holder", "end"),
    [
        (Holder("prepared transaction", "x", "", "a", 900.0, ""), "rollback prepared 'x'"),
        (Holder("replication slot", "s", "pgoutput", "", None, ""), "select pg_drop_replication_slot('s')"),
    ],
)
def test_who_holds_old_rows_can_be_ended(holder: Holder, end: str) -> None:
    """Each kind has its own way."""
    (found,) = diagnose(facts(holders=[holder]))
    assert found.do == end


def test_the_page_explains_each_code_and_no_other() -> None:
    """docs/doctor.md has a heading for each."""
    text = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")
    assert set(re.findall(r"^### (F\d{3})", text, re.MULTILINE)) == {"F100", *WRONG}


def test_a_finding_is_plain_data() -> None:
    """For --json."""
    assert Finding("F1", Level.NOTE, "a", "b", "c").level == "note"
