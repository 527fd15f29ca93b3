"""Whatever a row, an error or a task is made of, an end can be decided and written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from outcomes import POLICY, Mute, decide, job

from fastq.ends.ending import (
    Cancelled,
    Died,
    End,
    GivenBack,
    Interrupted,
    Raised,
    Stepped,
    Succeeded,
)
from fastq.ends.meta import read
from fastq.ends.outcome import (
    MOST_ATTEMPT,
    MOST_INTERRUPTED,
    RetryPolicy,
    conclude,
    exhausted,
    plainer,
)
from fastq.errors import UsageError
from fastq.flow import Discard, Retry, Snooze

pytestmark = pytest.mark.unit


class Named(type):
    """A class that cannot be named."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise KeyboardInterrupt
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Named):
    """An error of such a class."""


class Stubborn(Exception):
    """An error whose text ends the interpreter."""

    def __str__(self) -> str:
        raise SystemExit(3)


def quitting(attempt: int) -> float:
    """Compute a backoff by leaving."""
    raise SystemExit(attempt)


@pytest.mark.parametrize(
    ("end", "policy"),
    [
        (Raised(Mute()), POLICY),
        (Raised(Stubborn()), POLICY),
        (Raised(Nameless()), POLICY),
        (Raised(ValueError()), RetryPolicy(backoff=quitting)),
        (Raised(None), POLICY),  # type: ignore[arg-type]
        (Stepped("t", "{}", "soon"), POLICY),  # type: ignore[arg-type]
        (Died(ran=True, cause="x", max_crashes=None), POLICY),  # type: ignore[arg-type]
        (Succeeded("1"), None),
    ],
)
@pytest.mark.parametrize("attempt", [-(2**15), -1, 0, MOST_ATTEMPT])
def test_an_end_is_always_written(end: End, policy: RetryPolicy, attempt: int) -> None:
    """A job goes somewhere, or is kept as failed with the reason; its attempts fit the column."""
    made = conclude(job(attempt, {"headers": {"h": 1}, "unique": ["k", "finished"]}), end, policy or POLICY)
    assert made.goes in ("scheduled", "finished", "done")
    assert -(2**15) <= made.attempt <= MOST_ATTEMPT
    assert made.meta is None or made.meta["unique"] == ["k", "finished"]
    orjson.dumps(made.meta)


def test_an_error_that_cannot_be_written_says_so() -> None:
    """What is kept is that the run failed, and why that could not be written."""
    made = conclude(job(), Raised(Nameless("x")), POLICY)
    assert (made.goes, made.state, made.attempt) == ("finished", "failed", 1)
    assert made.meta is not None
    (told,) = made.meta["errors"]
    assert told["message"] == "failed, and the failure could not be written: KeyboardInterrupt"


def test_plainer_and_plainer() -> None:
    """First what the job holds and its arguments are kept, at last neither is, nor the job's id; the reason always."""
    tried = decide(ValueError("no"))
    tried = replace(tried, meta={**(tried.meta or {}), "unique": ["k", "finished"], "ordered": "skip"})
    plain, loose, bare = plainer(tried, "why")
    assert [form.payload for form in (plain, loose, bare)] == [None, None, "null"]
    assert [form.anew for form in (plain, loose, bare)] == [False, False, True]
    assert [sorted(form.meta or ()) for form in (plain, loose)] == [["errors", "ordered", "unique"], ["errors"]]
    assert bare.meta is not None
    assert [told["message"] for told in bare.meta["errors"]] == [
        "no",
        "failed, and the failure could not be written: why",
    ]
    assert all((form.goes, form.state, form.attempt) == ("finished", "failed", 1) for form in (plain, loose, bare))


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (Succeeded("1"), "succeeded, and the result could not be written: why"),
        (GivenBack(), "put back into line, and that could not be written: why"),
        (Raised(Snooze(1)), "put back into line, and that could not be written: why"),
        (Cancelled(), "cancelled, and that could not be written: why"),
        (Raised(Discard("no")), "failed, and the failure could not be written: why"),
    ],
)
def test_it_says_what_could_not_be_written(end: End, says: str) -> None:
    """A reader learns what the job had done."""
    form = next(plainer(conclude(job(), end, replace(POLICY, keep_s=60)), "why"))
    assert form.meta is not None
    assert form.meta["errors"][-1]["message"] == says


def test_a_success_that_cannot_be_written_stays_one() -> None:
    """Where nothing is kept, what the job holds is left to the steward, and it is done."""
    tried = conclude(job(0, {"unique": ["k", "finished"]}), Succeeded())
    (form,) = plainer(tried, "why")
    assert (form.goes, form.meta) == ("done", None)


@pytest.mark.parametrize(
    ("own", "attempt", "state"),
    [
        (5, 4, "retrying"),
        (5, 5, "failed"),
        (0, 0, "failed"),
        *((wrong, 1, "retrying") for wrong in ("x", -1, True, 10**9, [3], None, 1.5)),
        *((wrong, 2, "failed") for wrong in ("x", -1, True, 10**9, [3], None, 1.5)),
    ],
)
def test_a_jobs_own_retries_come_before_its_tasks(own: object, attempt: int, state: str) -> None:
    """Where they can be, else the task's two are meant; after a crash in the last run as well."""
    meta, policy = read({"retries": own}), RetryPolicy(retries=2)
    assert conclude(job(attempt, meta), Raised(ValueError()), policy).state == state
    assert exhausted(job(attempt + 1, meta), policy) is (state == "failed")


def test_a_handler_gives_its_job_more_retries() -> None:
    """They add up, count in later runs as well, and have a bound."""
    policy = RetryPolicy(retries=0)
    first = conclude(job(), Raised(Retry(1, extra_retries=1)), policy)
    assert (first.state, first.attempt, (first.meta or {})["retries"]) == ("retrying", 1, 1)
    second = conclude(job(1, first.meta), Raised(Retry(extra_retries=2)), policy)
    assert (second.state, (second.meta or {})["retries"]) == ("retrying", 3)
    assert conclude(job(2, second.meta), Raised(ValueError()), policy).state == "retrying"
    assert conclude(job(3, second.meta), Raised(ValueError()), policy).state == "failed"
    last = conclude(job(3, {"retries": 9_999}), Raised(Retry(extra_retries=10_000)), policy)
    assert (last.meta or {})["retries"] == 10_000


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "2", 10_001])
def test_extra_retries_that_are_none_are_refused(wrong: Any) -> None:
    """With a sentence that says what can be."""
    with pytest.raises(UsageError, match="extra_retries must be 0 to 10000"):
        Retry(extra_retries=wrong)


@pytest.mark.parametrize("own", [0, -1, "5", True, None, 1e300, {}])
def test_a_timeout_that_cannot_be_is_none(own: object) -> None:
    """In a job's meta, where a stranger may have put anything."""
    assert read({"timeout": own, "headers": {}}) == {"headers": {}}
    assert read({"timeout": 0.5}) == {"timeout": 0.5}


def test_payloads_are_kept_for_failures_only() -> None:
    """Those that succeeded are kept without; they need not be run again."""
    policy = RetryPolicy(retries=0, keep_s=60, keep_payload="failed")
    assert conclude(job(), Succeeded("1"), policy).payload == "null"
    for end in (Raised(ValueError()), Raised(Discard("no")), Cancelled()):
        assert conclude(job(), end, policy).payload is None


def test_what_was_undone_without_the_handlers_doing_is_no_attempt() -> None:
    """It runs again soon, so many times; then it is a failure, and is counted anew."""
    meta: dict[str, Any] | None = {"headers": {"h": 1}}
    for time in range(1, MOST_INTERRUPTED + 1):
        made = conclude(job(1, meta), Interrupted(ValueError("undone")), POLICY)
        assert (made.goes, made.state, made.attempt) == ("scheduled", "scheduled", 1)
        assert made.delay_s <= 1
        meta = made.meta
        assert meta == {"headers": {"h": 1}, "interrupted": time}
    made = conclude(job(1, meta), Interrupted(ValueError("undone")), POLICY)
    assert (made.state, made.attempt) == ("retrying", 2)
    assert made.meta is not None
    assert "interrupted" not in made.meta
