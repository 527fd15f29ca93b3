"""What becomes of a job whose run did not simply succeed: the decisions as a table."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from outcomes import POLICY, Mute, decide, job

from fastq.ends.ending import (
    MAX_CRASHES,
    Cancelled,
    Died,
    Exhausted,
    Expired,
    GivenBack,
    Raised,
    Succeeded,
)
from fastq.ends.failure import MOST_MESSAGE, MOST_TRACEBACK, error_record
from fastq.ends.outcome import (
    MOST_ERRORS,
    RetryPolicy,
    conclude,
    death_of,
    exhausted,
)
from fastq.flow import Discard, Retry, Snooze

pytestmark = pytest.mark.unit

TABLE = [
    # error, attempt before, final -> goes, state, delay, attempt after, errors kept, kept for
    (ValueError("x"), 0, False, "scheduled", "retrying", 7, 1, 1, None),
    (ValueError("x"), 2, False, "scheduled", "retrying", 7, 3, 1, None),
    (ValueError("x"), 3, False, "finished", "failed", 0, 4, 1, 60),
    (ValueError("x"), 9, False, "finished", "failed", 0, 10, 1, 60),
    (ValueError("x"), 0, True, "finished", "failed", 0, 1, 1, 60),
    (TimeoutError("late"), 0, False, "scheduled", "retrying", 7, 1, 1, None),
    (KeyboardInterrupt(), 0, False, "scheduled", "retrying", 7, 1, 1, None),
    (Retry(), 0, False, "scheduled", "retrying", 7, 1, 1, None),
    (Retry(delay=0.5), 0, False, "scheduled", "retrying", 0.5, 1, 1, None),
    (Retry(delay=0), 0, False, "scheduled", "retrying", 0, 1, 1, None),
    (Retry(delay=timedelta(minutes=1)), 2, False, "scheduled", "retrying", 60, 3, 1, None),
    (Retry(delay=1), 3, False, "finished", "failed", 0, 4, 1, 60),
    (Snooze(30), 1, False, "scheduled", "scheduled", 30, 1, 0, None),
    (Snooze(timedelta(hours=1)), 99, False, "scheduled", "scheduled", 3600, 99, 0, None),
    (Discard("no use"), 0, False, "finished", "discarded", 0, 1, 1, 60),
    (Discard("no use"), 3, False, "finished", "discarded", 0, 4, 1, 60),
]


@pytest.mark.parametrize(("error", "before", "final", "goes", "state", "delay_s", "after", "errors", "keep_s"), TABLE)
def test_failures(
    error: BaseException,
    before: int,
    final: bool,
    goes: str,
    state: str,
    delay_s: float,
    after: int,
    errors: int,
    keep_s: float | None,
) -> None:
    """One line of the table; the job keeps its place in the lease and its headers."""
    made = decide(error, before, final=final)
    assert (made.lease, made.ord) == (5, 2)
    assert (made.goes, made.state, made.delay_s, made.attempt, made.keep_s) == (goes, state, delay_s, after, keep_s)
    assert made.meta is not None
    assert made.meta["headers"] == {"h": 1}
    assert len(made.meta.get("errors", [])) == errors


def test_no_retries_at_all() -> None:
    """retries=0 is one run."""
    assert decide(ValueError(), 0, policy=RetryPolicy(retries=0)).state == "failed"


def test_a_negative_backoff_is_at_once() -> None:
    """A function of the attempt may compute anything."""
    policy = RetryPolicy(retries=3, backoff=lambda attempt: attempt - 10.0)
    assert decide(ValueError(), policy=policy).delay_s == 0


def test_the_backoff_is_asked_for_the_failed_attempt() -> None:
    """The first failure is attempt 1."""
    policy = RetryPolicy(retries=9, backoff=lambda attempt: attempt * 100.0)
    assert [decide(ValueError(), n, policy=policy).delay_s for n in range(3)] == [100, 200, 300]


def test_errors_are_bounded() -> None:
    """The last ten are kept, each with a bounded message and traceback; the job's own meta is left as it was."""
    old = {"errors": [{"attempt": n} for n in range(MOST_ERRORS)]}

    def deep(n: int) -> None:
        if not n:
            raise ValueError("x" * 5000 + "end")
        deep(n - 1)

    try:
        deep(200)
    except ValueError as exc:
        made = conclude(job(20, old), Raised(exc), POLICY)
    assert made.meta is not None
    errors = made.meta["errors"]
    assert [error["attempt"] for error in errors] == [*range(1, MOST_ERRORS), 21]
    assert len(errors[-1]["message"]) == MOST_MESSAGE + 1
    assert errors[-1]["message"].endswith("end")
    assert len(errors[-1]["traceback"]) <= MOST_TRACEBACK + 1
    assert errors[-1]["type"] == "ValueError"
    assert len(old["errors"]) == MOST_ERRORS


def test_odd_texts_become_json() -> None:
    """Nul bytes and lone surrogates in a message end up as something that PostgreSQL's json takes."""
    record = error_record(ValueError("nul\0 lone\ud800 ü"), 1)
    assert "\0" not in record["message"]
    assert orjson.loads(orjson.dumps(record))["message"].endswith("ü")


def raising(error: Exception) -> Callable[[int], float]:
    """Return a backoff that fails."""

    def backoff(attempt: int) -> float:
        raise error

    return backoff


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (Mute(), POLICY),
        (ValueError(), RetryPolicy(backoff=raising(ZeroDivisionError()))),
        (ValueError(), RetryPolicy(backoff=lambda _: None)),  # type: ignore[arg-type, return-value]
    ],
    ids=["str", "backoff raises", "backoff gives None"],
)
def test_a_decision_is_always_made(error: Exception, policy: RetryPolicy) -> None:
    """Whatever the handler's error or the task's backoff do, the job goes somewhere."""
    assert decide(error, policy=policy).goes in ("scheduled", "finished")


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (Retry(delay=float("nan")), POLICY),
        (Retry(delay=float("inf")), POLICY),
        (Retry(delay=1e300), POLICY),
        (Snooze(float("nan")), POLICY),
        (Snooze(float("inf")), POLICY),
        (ValueError(), RetryPolicy(backoff=lambda _: float("inf"))),
        (ValueError(), RetryPolicy(backoff=lambda attempt: 1e300 * attempt)),
    ],
)
def test_delays_are_bounded(error: Exception, policy: RetryPolicy) -> None:
    """A delay out of all bounds becomes one that the database can add to its time."""
    assert 0 <= decide(error, policy=policy).delay_s < 1000 * 366 * 86400


def test_returned_is_as_it_was() -> None:
    """A job that goes back unstarted has neither an attempt nor an error more."""
    made = conclude(job(2, {"errors": [{}]}), GivenBack())
    assert (made.goes, made.attempt, made.meta, made.state) == ("ready", 2, {"errors": [{}]}, "")


def test_deaths() -> None:
    """Only what ran is charged; the last crash that is allowed fails the job."""
    assert conclude(job(1), Died(ran=False, cause="SIGKILL")) == conclude(job(1), GivenBack())
    meta: dict[str, Any] | None = None
    for crash in range(1, MAX_CRASHES + 1):
        made = conclude(job(1, meta), Died(ran=True, cause="SIGKILL"))
        meta = made.meta
        assert meta is not None
        assert (meta["crashes"], made.attempt, len(meta["errors"])) == (crash, 1, crash)
        assert (made.goes, made.state) == (("finished", "failed") if crash == MAX_CRASHES else ("ready", ""))
    assert meta is not None
    assert "SIGKILL" in meta["errors"][0]["message"]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (9, "SIGKILL"),
        (signal.SIGSEGV | 0x80, "SIGSEGV"),
        (1 << 8, "exit code 1"),
        (0, "exit code 0"),
        (126, "signal 126"),
    ],
)
def test_death_of(status: int, name: str) -> None:
    """A wait status in words."""
    assert death_of(status) == name


@pytest.mark.parametrize(
    ("error", "attempt", "errors"),
    [(None, 1, 0), (asyncio.CancelledError(), 2, 0), (Snooze(5), 2, 0), (ValueError("no"), 2, 1)],
)
def test_a_cancelled_job_ends(error: BaseException | None, attempt: int, errors: int) -> None:
    """Not started, it has no run more; what it raised otherwise is kept, what stands for the cancelling is not."""
    end = conclude(job(attempt=1), Cancelled(error), POLICY)
    assert (end.goes, end.state, end.attempt, end.keep_s) == ("finished", "cancelled", attempt, 60)
    assert len((end.meta or {}).get("errors", [])) == errors


def test_a_cancelled_job_is_not_charged_with_a_crash() -> None:
    """Its worker died: it ends, whether it ran or not."""
    for running in (True, False):
        end = conclude(replace(job(), cancelled=True), Died(ran=running, cause="SIGKILL", counts=True))
        assert (end.goes, end.state, end.meta) == ("finished", "cancelled", None)


def test_no_payload_is_kept_where_none_shall_be() -> None:
    """Of whatever ends; one that is tried again needs its own."""
    policy = RetryPolicy(retries=0, keep_s=60, keep_payload=False)
    ends = [Raised(ValueError()), Raised(Discard("no")), Cancelled(), Succeeded("1"), Exhausted()]
    assert [conclude(job(), end, policy).payload for end in ends] == ["null"] * 5
    assert conclude(job(), Raised(Snooze(1)), policy).payload is None
    assert conclude(job(), Succeeded("1"), replace(POLICY, keep_s=60)).payload is None


def test_attempts_are_used_up() -> None:
    """A job whose worker died in its last attempt does not run once more."""
    assert [exhausted(job(attempt), POLICY) for attempt in (0, 3, 4)] == [False, False, True]


def test_an_expired_job_is_kept_without_an_attempt() -> None:
    """For as long as its task keeps those that did not succeed."""
    settled = conclude(job(attempt=2, meta={"expires": 1.0}), Expired(), RetryPolicy(keep_failed_s=60))
    assert (settled.goes, settled.state, settled.attempt, settled.keep_s) == ("finished", "expired", 2, 60)
