"""`fastq queues set` as a user types it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from test_jobs_cli import fastq, told

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


def test_limits_are_set_shown_and_lifted(db: Db) -> None:
    """What is not given stays as it is; `none` lifts; a rate is shown in the period that suits it."""
    assert fastq("queues", "set", "mail", "--max-running", "5", "--rate", "30/m").stdout == (
        "mail: max running 5, rate 30/m\n"
    )
    line = fastq(
        "queues", "set", "mail", "--max-running-per-group", "1", "--weight", "3", "--max-running", "none"
    ).stdout
    assert line == "mail: max running per group 1, rate 30/m, weight 3\n"
    shown = told("queues", "set", "mail", "new")["queues"]
    settings = {"max_running": None, "max_running_per_group": 1, "rate": 0.5, "weight": 3}
    assert shown == [{"name": "mail", **settings}, {"name": "new", **dict.fromkeys(settings)}]
    assert fastq("queues", "set", "new").stdout == "new: no limits\n"


@pytest.mark.parametrize(
    "wrong", [("--max-running", "-1"), ("--rate", "0/s"), ("--rate", "5"), ("--weight", "0"), ("--weight", "x")]
)
def test_what_cannot_be_is_refused(db: Db, wrong: tuple[str, str]) -> None:
    """In one sentence that says what can."""
    assert "or none" in fastq("queues", "set", "mail", *wrong, code=2).stderr
