"""The restart policy: when a dead worker is replaced, and when it is a crash loop."""

from __future__ import annotations

import signal

import pytest

from fastq.states import ExitCode
from fastq.supervisor.exits import Exit
from fastq.supervisor.policy import STEWARD_POLICY, Life, Record, RestartPolicy, backoff_s, judge, loop_code

pytestmark = pytest.mark.unit

POLICY = RestartPolicy()
KILLED = Exit(signal.SIGKILL)


def life(end: Exit = KILLED, **facts: object) -> Life:
    """Return a quick, useless life, but for the facts."""
    return Life(**{"exit": end, "clean": False, "ready_s": None, "progressed": False, "fleet_was_ready": True} | facts)


def test_backoff_is_zero_first_then_doubles_to_the_cap() -> None:
    """The first restart is at once, the last ones are five seconds apart."""
    assert [backoff_s(POLICY, n) for n in range(1, 10)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]


def test_backoff_of_any_number_of_failures_is_the_cap() -> None:
    """Weeks of failures do not overflow."""
    assert backoff_s(POLICY, 10**9) == POLICY.cap_s


def test_steward_is_never_away_for_longer_than_a_second() -> None:
    """Leases live on its heartbeats."""
    assert max(backoff_s(STEWARD_POLICY, n) for n in range(100)) < 1


def test_clean_exit_is_replaced_at_once_and_forgives() -> None:
    """A recycled worker is no failure."""
    verdict = judge(POLICY, Record(failures=3, strikes=3), life(Exit(0), clean=True), burst=False)
    assert (verdict.record, verdict.delay_s, verdict.finished) == (Record(), 0, False)


def test_clean_exit_in_burst_mode_finishes_the_seat() -> None:
    """The queue was empty."""
    assert judge(POLICY, Record(), life(Exit(0), clean=True), burst=True).finished


def test_crash_in_burst_mode_is_replaced() -> None:
    """What it had claimed is in the queue again."""
    assert not judge(POLICY, Record(), life(), burst=True).finished


def test_quick_deaths_add_up() -> None:
    """Failures and strikes both count what came in a row."""
    record = Record()
    for _ in range(5):
        record = judge(POLICY, record, life(), burst=False).record
    assert (record.failures, record.strikes) == (5, 5)


def test_death_after_healthy_life_starts_anew() -> None:
    """A worker that was ready for long enough is replaced at once, whatever was before."""
    verdict = judge(POLICY, Record(failures=9, strikes=9), life(ready_s=10.0), burst=False)
    assert (verdict.record.failures, verdict.record.strikes, verdict.delay_s) == (1, 0, 0)


def test_quick_death_with_settled_jobs_is_a_failure_but_no_strike() -> None:
    """One poisonous job after the other is slow going, but going."""
    record = judge(POLICY, Record(failures=4, strikes=4), life(ready_s=1.0, progressed=True), burst=False).record
    assert (record.failures, record.strikes) == (5, 0)


def test_unreachable_database_is_waited_out_once_it_was_there() -> None:
    """A fail-over that takes a minute must not end the supervisor."""
    down = Exit(ExitCode.DATABASE << 8)
    later = judge(POLICY, Record(failures=4, strikes=4), life(down), burst=False).record
    at_start = judge(POLICY, Record(strikes=4), life(down, fleet_was_ready=False), burst=False).record
    assert (later.strikes, later.failures, at_start.strikes) == (4, 5, 5)


@pytest.mark.parametrize(
    ("codes", "was_ready", "expected"),
    [
        ([2, 2], False, 2),
        ([3, 3], False, 3),
        ([4, 4], False, 4),
        ([4, 4], True, 4),
        ([3, 3], True, 6),
        ([2, 4], False, 6),
        ([None, None], False, 6),
        ([1, 1], False, 6),
    ],
)
def test_exit_code_of_a_crash_loop(codes: list[int | None], was_ready: bool, expected: int) -> None:
    """It is 6, unless all failed at the start for the same stated reason."""
    assert loop_code([Record(last_code=code) for code in codes], fleet_was_ready=was_ready) == expected
