"""What people type to find jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastq.errors import UsageError
from fastq.insights.search import Search, parse
from fastq.protocol.jobs import JobFilter, JobInfo
from fastq.states import JobState

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def job(**given: Any) -> JobInfo:
    """Return a job."""
    return JobInfo(
        **{"id": 1, "task": "t", "queue": "q", "state": "failed", "attempt": 1, "args": {}, "enqueued_at": NOW, **given}
    )


def test_conditions_of_the_database() -> None:
    """Names with colons, quotes around what has blanks; a word alone is looked for in the errors."""
    found = parse('queue:mail task:"my task" state:failed,discarded boom')
    assert found == Search(
        wanted=JobFilter(states=(JobState.FAILED, JobState.DISCARDED), queue="mail", task="my task", error="boom")
    )
    assert not found.scans


def test_conditions_that_are_looked_at_one_by_one() -> None:
    """Groups, keys, times and arguments."""
    found = parse("group:acme key:k args.user.0:7 since:2h", now=NOW)
    assert found.scans
    fits = {"group_key": "acme", "unique_key": "k", "args": {"user": [7]}}
    assert found.fits(job(**fits))
    for name, other in (("group_key", "b"), ("unique_key", None), ("args", {"user": [8]}), ("args", {})):
        assert not found.fits(job(**{**fits, name: other}))
    assert not found.fits(job(**fits, enqueued_at=NOW - timedelta(hours=3)))


@pytest.mark.parametrize(("value", "text"), [(None, "null"), (True, "true"), (7, "7"), (1.5, "1.5"), ("a", "a")])
def test_values_are_compared_as_they_are_typed(value: object, text: str) -> None:
    """Whatever JSON has."""
    assert parse(f"args.x:{text}").fits(job(args={"x": value}))


@pytest.mark.parametrize("text", ["17", "id:17"])
def test_a_number_is_an_id(text: str) -> None:
    """Alone or by name."""
    assert parse(text).id == 17


@pytest.mark.parametrize("text", ["colour:red", "state:odd", "since:yesterday", "args.:1", "id:x"])
def test_what_cannot_be_read_is_named(text: str) -> None:
    """In one sentence."""
    with pytest.raises(UsageError):
        parse(text)
