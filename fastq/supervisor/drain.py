"""How everything is brought to an end, and in which order. Pure: phases, deadlines and orders.

    SERVING ─TERM, INT, crash loop, burst over─► WORKERS ──all gone──► STEWARD ──gone──► DONE
       │                                            │                     │               ▲
       └──QUIT──────────► FORCED ◄─second TERM/INT──┴─────────────────────┘               │
                             └──────────────────────── all gone ──────────────────────────┘

In each phase, what is still there at the deadline is killed. The steward outlives the workers: it keeps their
leases alive, and gives back those of the ones that were killed.
"""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass
from enum import Enum, auto

from fastq.states import ExitCode
from fastq.supervisor.exits import Exit


class Phase(Enum):
    """Where the supervisor stands."""

    SERVING = auto()
    WORKERS = auto()
    STEWARD = auto()
    FORCED = auto()
    DONE = auto()


class Order(Enum):
    """What is to be done to the children now."""

    WAIT = auto()
    KILL_WORKERS = auto()
    TERM_STEWARD = auto()
    KILL_STEWARD = auto()
    KILL_ALL = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each phase may take.

    Workers keep `shutdown_timeout_s` themselves (and exit with 5); `grace_s` on top is for those that cannot.
    A TERM or INT within `echo_s` of the first is the same one heard twice: wrappers pass on what the terminal sent to
    the whole group, and the kernel tells of a parent's death once for each of its threads.
    `ready_s` bounds how long a rolling replacement waits for a new worker.
    """

    shutdown_timeout_s: float = 30.0
    grace_s: float = 5.0
    steward_s: float = 5.0
    force_s: float = 1.0
    echo_s: float = 0.5
    ready_s: float = 60.0

    @property
    def leave_s(self) -> float:
        """From asking a worker to go until it is killed."""
        return self.shutdown_timeout_s + self.grace_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A phase and when its patience ends."""

    phase: Phase = Phase.SERVING
    deadline: float = math.inf
    echo_until: float = -math.inf


def begin(now: float, limits: Limits) -> Drain:
    """Return the start of an orderly end; the workers have just been asked to go."""
    return Drain(phase=Phase.WORKERS, deadline=now + limits.leave_s, echo_until=now + limits.echo_s)


def force(now: float, limits: Limits) -> Drain:
    """Return the start of an end at once; all children have just been sent QUIT."""
    return Drain(phase=Phase.FORCED, deadline=now + limits.force_s)


def advance(drain: Drain, limits: Limits, *, now: float, workers: int, steward: bool) -> tuple[Drain, Order]:
    """Return the phase after this moment and the order that goes with it."""
    late = now >= drain.deadline
    stay = Drain(phase=drain.phase)  # killed already: only the reaping is left, no deadline
    match drain.phase:
        case Phase.WORKERS if not workers:
            return Drain(phase=Phase.STEWARD, deadline=now + limits.steward_s), Order.TERM_STEWARD
        case Phase.WORKERS if late:
            return stay, Order.KILL_WORKERS
        case Phase.STEWARD if not steward:
            return Drain(phase=Phase.DONE), Order.WAIT
        case Phase.STEWARD if late:
            return stay, Order.KILL_STEWARD
        case Phase.FORCED if not workers and not steward:
            return Drain(phase=Phase.DONE), Order.WAIT
        case Phase.FORCED if late:
            return stay, Order.KILL_ALL
        case _:
            return drain, Order.WAIT


def code_of_leaver(end: Exit, *, was_ready: bool) -> ExitCode:
    """Return what the end of one worker during the drain means for the exit code.

    A worker that was still starting has no handler for TERM yet, so that dying of it is the clean way out.
    """
    if end.code == ExitCode.OK or (end.signal == signal.SIGTERM and not was_ready):
        return ExitCode.OK
    return ExitCode.OVERRAN if end.code == ExitCode.OVERRAN else ExitCode.CRASH


def exit_code(codes: set[ExitCode]) -> ExitCode:
    """Return the code that says most: forced and crash-looping are put first by the supervisor itself."""
    return next((code for code in (ExitCode.OVERRAN, ExitCode.CRASH) if code in codes), ExitCode.OK)
