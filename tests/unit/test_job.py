"""Options, ids and refs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from fastq.errors import UsageError
from fastq.job import JobRef, JobSpec, Options, check_name
from fastq.job_ids import JobIds

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["q", "a b", "ü/\\'\"%s", "x" * 255, "тест", "\U0001f600"])
def test_names_that_work(name: str) -> None:
    """Anything printable."""
    assert check_name("queue", name) == name


@pytest.mark.parametrize("name", ["", "a\tb", "a\nb", "a\0b", "x" * 256, "\x85", "\u2028", "\ud800", None, 7])
def test_names_that_do_not(name: Any) -> None:
    """Nothing that could break a line of an enqueue, or that is no text."""
    with pytest.raises(UsageError, match="1 to 255 printable characters"):
        check_name("queue", name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": ""}, "queue must be"),
        ({"group_key": "a\tb"}, "group_key must be"),
        ({"priority": 10}, "priority must be"),
        ({"priority": -1}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"priority": "1"}, "priority must be"),
        ({"priority": 4.0}, "priority must be"),
        ({"delay_s": -1.0}, "delay must be"),
        ({"delay_s": float("nan")}, "delay must be"),
        ({"delay_s": float("inf")}, "delay must be"),
        ({"group_key": None}, "group_key must be"),
        ({"run_at": datetime(2024, 1, 1)}, "time zone"),
        ({"run_at": datetime(2024, 1, 1, tzinfo=UTC), "delay_s": 1.0}, "not both"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    """Each is refused in one sentence."""
    with pytest.raises(UsageError, match=words):
        Options(**options)


@pytest.mark.parametrize("headers", [{"a": object()}, {"a": float("nan")}, ["a"], "ab"])
def test_headers_that_cannot_be_written(headers: Any) -> None:
    """Headers that are no JSON object are refused where they are given."""
    with pytest.raises(UsageError, match="header"):
        Options(headers=headers)


def test_but_replaces() -> None:
    """Only what is named; delay and run_at exclude each other, the later call wins."""
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    options = Options(queue="mail", priority=1).but(delay=timedelta(minutes=2), headers={"a": 1})
    assert (options.queue, options.priority, options.delay_s, options.waits) == ("mail", 1, 120.0, True)
    moved = options.but(run_at=noon)
    assert (moved.run_at, moved.delay_s, moved.headers) == (noon, None, {"a": 1})
    again = moved.but(delay=5)
    assert (again.run_at, again.delay_s) == (None, 5.0)
    assert not again.but(delay=None).waits
    assert not again.but(delay=0).waits
    assert options.but() == options


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), timedelta(days=-1), 101 * 366 * 86400, "soon", [1]])
def test_delays_out_of_bounds(delay: Any) -> None:
    """0 seconds to 100 years."""
    with pytest.raises(UsageError, match="delay must be"):
        Options().but(delay=delay)


@pytest.mark.parametrize("retries", [-1, True, 1.0, 10_001])
def test_retries_out_of_bounds(retries: Any) -> None:
    """Whole numbers up to 10000."""
    with pytest.raises(UsageError, match="retries must be 0 to 10000"):
        Options().but(retries=retries)


@pytest.mark.parametrize("timeout", [0, "x", float("nan"), float("inf")])
def test_timeouts_out_of_bounds(timeout: Any) -> None:
    """More than 0 seconds."""
    with pytest.raises(UsageError, match="timeout must be"):
        Options().but(timeout=timeout)


def test_retries_and_timeouts_travel_in_the_meta() -> None:
    """As numbers, beside whatever else there is; None is the task's own again."""
    options = Options(retries=0).but(timeout=timedelta(minutes=1), headers={"a": 1})
    assert orjson.loads(options.meta()) == {"headers": {"a": 1}, "retries": 0, "timeout": 60.0}
    assert options.but(retries=None, timeout=None, headers=None).meta() == b""


def test_unknown_options_are_named() -> None:
    """A typo is answered with what there is."""
    with pytest.raises(UsageError, match="unknown option prioritty; there are: delay, timeout, expires, queue"):
        Options().but(prioritty=1)


def test_meta() -> None:
    """Nothing where there is nothing."""
    assert Options().meta() == b""
    assert Options(headers={}).meta() == b""
    assert Options(headers={"a": "\0"}).meta() == rb'{"headers":{"a":"\u0000"}}'


def test_job_ids() -> None:
    """A sequence over ranges: length, places from both ends, slices, containment; adjoining ranges become one."""
    ids = JobIds()
    assert (len(ids), list(ids), ids[:]) == (0, [], [])
    for part in (range(10, 13), range(13, 15), range(0), range(100, 102)):
        ids.add(part)
    everything = [10, 11, 12, 13, 14, 100, 101]
    assert list(ids) == everything
    assert len(ids._ranges) == 2
    assert [ids[n] for n in range(-7, 7)] == everything * 2
    assert ids[2:6] == everything[2:6]
    assert ids[::-2] == everything[::-2]
    assert 14 in ids
    assert 15 not in ids
    assert ids.index(100) == 5
    for place in (7, -8):
        with pytest.raises(IndexError, match="of 7"):
            ids[place]
    assert repr(ids) == "<JobIds of 7 jobs>"


def test_values() -> None:
    """A ref is its id; a spec's text is short."""
    assert JobRef(7) == JobRef(7, duplicate=False)
    assert len(repr(JobSpec("t", {"a": "x" * 1000}, Options()))) < 130


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, timedelta(0), timedelta(days=99999)])
def test_a_time_to_begin_that_no_job_can_have(seconds: float | timedelta) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match="expires must be greater than 0 seconds, at most 100 years"):
        Options().but(expires=seconds)


def test_a_time_to_begin_travels_in_meta() -> None:
    """In seconds, whatever it was given as."""
    assert orjson.loads(Options().but(expires=timedelta(minutes=1)).meta()) == {"expires": 60.0}
