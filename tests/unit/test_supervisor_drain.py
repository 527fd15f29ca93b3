"""The plan of the end: phases, deadlines, orders, exit codes."""

from __future__ import annotations

import math
import signal

import pytest

from fastq.states import ExitCode
from fastq.supervisor.drain import Drain, Limits, Order, Phase, advance, begin, code_of_leaver, exit_code, force
from fastq.supervisor.exits import Exit

pytestmark = pytest.mark.unit

LIMITS = Limits()


def step(drain: Drain, now: float, workers: int, steward: bool = True) -> tuple[Drain, Order]:
    """Advance."""
    return advance(drain, LIMITS, now=now, workers=workers, steward=steward)


def test_serving_goes_on() -> None:
    """Nothing ends by itself."""
    assert step(Drain(), 1e9, 0) == (Drain(), Order.WAIT)


def test_steward_goes_after_the_last_worker() -> None:
    """It is needed until then."""
    drain = begin(0.0, LIMITS)
    assert step(drain, 1.0, 1) == (drain, Order.WAIT)
    after, order = step(drain, 1.0, 0)
    assert (after, order) == (Drain(phase=Phase.STEWARD, deadline=6.0), Order.TERM_STEWARD)
    assert step(after, 2.0, 0, steward=False)[0].phase is Phase.DONE


def test_workers_have_the_timeout_and_the_grace() -> None:
    """Then they are killed, once."""
    drain = begin(0.0, LIMITS)
    assert step(drain, 34.9, 1)[1] is Order.WAIT
    after, order = step(drain, 35.0, 1)
    assert (after, order) == (Drain(phase=Phase.WORKERS, deadline=math.inf), Order.KILL_WORKERS)
    assert step(after, 99.0, 1) == (after, Order.WAIT)


def test_steward_is_killed_at_its_deadline() -> None:
    """It cannot keep the supervisor."""
    assert step(Drain(phase=Phase.STEWARD, deadline=5.0), 5.0, 0)[1] is Order.KILL_STEWARD


def test_forced_end_kills_all_after_a_second() -> None:
    """QUIT is a courtesy."""
    drain = force(0.0, LIMITS)
    assert step(drain, 0.9, 1) == (drain, Order.WAIT)
    assert step(drain, 1.0, 1)[1] is Order.KILL_ALL
    assert step(drain, 0.5, 0)[1] is Order.WAIT
    assert step(drain, 0.5, 0, steward=False)[0].phase is Phase.DONE


@pytest.mark.parametrize(
    ("status", "was_ready", "code"),
    [
        (0, True, 0),
        (5 << 8, True, 5),
        (1 << 8, True, 1),
        (3 << 8, False, 1),
        (9, True, 1),
        (15, False, 0),
        (15, True, 1),
    ],
)
def test_code_of_a_worker_that_ended_in_a_drain(status: int, was_ready: bool, code: int) -> None:
    """Dying of TERM is clean only before there was anything to lose."""
    assert signal.SIGTERM == 15
    assert code_of_leaver(Exit(status), was_ready=was_ready) == code


@pytest.mark.parametrize(("codes", "code"), [(set(), 0), ({0}, 0), ({0, 1}, 1), ({0, 5}, 5), ({0, 1, 5}, 5)])
def test_exit_code_says_the_most(codes: set[int], code: int) -> None:
    """A deadline that passed comes before a crash, since it explains the kill."""
    assert exit_code({ExitCode(c) for c in codes}) == code
