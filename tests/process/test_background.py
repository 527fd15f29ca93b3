"""A worker that a shell starts in the background: INT and QUIT are ignored from the start, and stay so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import handlers
import pytest
from fleet import Fleet
from probe import Db, enqueue, states, wait_told

pytestmark = pytest.mark.process


@contextmanager
def ignoring(*signums: signal.Signals) -> Iterator[None]:
    """Have children of the block start with signals ignored."""
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in signums}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def test_ignored_signals_stay_ignored_and_term_drains(dsn: str, db: Db) -> None:
    """Ctrl-C at the shell's terminal is for others; the log says how to stop it."""
    with ignoring(signal.SIGINT, signal.SIGQUIT):
        fleet = Fleet(dsn)
    with fleet:
        fleet.wait_line("SIGINT and SIGQUIT stay ignored, as they were at the start; TERM drains")
        fleet.ready()
        fleet.process.send_signal(signal.SIGINT)
        fleet.process.send_signal(signal.SIGQUIT)
        enqueue(handlers.quick.job(n=1))
        wait_told(db, "quick")
        assert fleet.stop() == 0
        fleet.wait_line("SIGTERM: draining")
    assert not [line for line in fleet.lines if "SIGINT: " in line or "SIGQUIT: " in line]


def test_a_second_term_stops_at_once(dsn: str, db: Db) -> None:
    """The children hear the supervisor's QUIT, whatever it was started with itself."""
    with ignoring(signal.SIGINT, signal.SIGQUIT):
        fleet = Fleet(dsn)
    with fleet:
        fleet.ready()
        enqueue(handlers.gated.job(n=1))
        wait_told(db, "started")
        fleet.process.terminate()
        fleet.wait_line("SIGTERM: draining")
        while "stopping at once" not in "\n".join(fleet.lines):  # sooner than half a second, it is taken for an echo
            if fleet.process.poll() is not None:
                break
            fleet.process.terminate()
            signal.sigtimedwait([], 0.05)
        assert fleet.process.wait(30) == 1
    assert states(db) == {"running": 1}
