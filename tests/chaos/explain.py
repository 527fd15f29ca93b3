"""Why a job ran again, or raised: only by a fault that can do that, to that process, at that time."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from chaos.faults import Fault
from chaos.ledger import Run

UNACKED_S = 1.0
"""How long a finished job may stay unacknowledged: until acks are flushed, and the WAL if the database crashes."""

UNDONE_S = 2.0
"""How long after a crash of the database a worker may start what it had claimed, and what the crash gave to others."""

AFTERMATH_S = 3.0
"""How long after a fault a handler may still meet a broken connection."""

RETURNS_S = 45.0
"""Within this and a lease and a half, what a fault gave back runs again: a worker waits 30 s for a silent server."""

DATABASE_ERRORS = {
    *("OperationalError", "AdminShutdown", "CrashShutdown", "CannotConnectNow", "TooManyConnections", "InterfaceError"),
    *("ConnectionException", "ConnectionFailure", "ConnectionTimeout", "QueryCanceled"),
    *("DatabaseUnreachable", "LeaseLost", "TimeoutError", "CancelledError"),
}
"""What a handler that does nothing wrong may be ended by while the database, or its own process, is in trouble."""


def is_planned(run: Run, again: Run, faults: Sequence[Fault]) -> bool:
    """Tell whether `again` had to follow: the handler raised, and that attempt was counted."""
    if run.outcome == "F":
        return again.attempt > run.attempt
    return run.outcome == "X" and run.error != "CancelledError" and is_troubled(run, faults)


def is_troubled(run: Run, faults: Sequence[Fault]) -> bool:
    """Tell whether a run may have ended by its exception, because of a fault that it met."""
    if run.error not in DATABASE_ERRORS:
        return False
    ended = math.inf if run.ended is None else run.ended
    return any(
        (fault.everyone or fault.touches(run.pid)) and fault.began <= ended and run.began <= _over(fault) + AFTERMATH_S
        for fault in faults
    )


def explain(
    run: Run, again: Run, faults: Sequence[Fault], lease_s: float, returns_s: float = RETURNS_S
) -> Fault | None:
    """Return the fault for which a job that ran could run again, or None.

    It touched the run's process, or all, while it ran or before its ack was surely down. Or the claim of one of the two
    runs was undone by a crash of the database, or taken from a worker that did not know: then that worker had claimed
    the job before the other one did. What was given back runs within `returns_s`, unless a backlog stands before it.
    """
    acked_at = acked_by(run, faults)
    for fault in faults:
        if not fault.repeats or fault.began > again.began:
            continue
        if again.began > _over(fault) + 1.5 * lease_s + returns_s:
            continue
        if (fault.everyone or fault.touches(run.pid)) and fault.bites <= acked_at and _over(fault) >= run.began:
            return fault
        if _was_overtaken(run, again, fault) or _was_undone(run, again, fault):
            return fault
    return None


def _was_overtaken(run: Run, again: Run, fault: Fault) -> bool:
    """Tell whether a worker that had lost its lease without knowing started the job after the one that has it now."""
    touched = fault.touches(again.pid) and fault.lingers_s and fault.bites <= again.began <= _over(fault)
    return bool(touched) and _claimed_before(again, run)


def _was_undone(run: Run, again: Run, fault: Fault) -> bool:
    """Tell whether one of the two was claimed before a crash, which undid that, and the other one after it."""
    if not (fault.everyone and fault.began <= run.began <= fault.ended + UNDONE_S):
        return False
    known = run.lease and again.lease and fault.newest_lease
    return not known or (run.lease <= fault.newest_lease) != (again.lease <= fault.newest_lease)


def _claimed_before(one: Run, other: Run) -> bool:
    """Tell whether one run's lease is older than the other's: their ids are never given twice. 0: it is not known."""
    return not one.lease or not other.lease or one.lease < other.lease


def _over(fault: Fault) -> float:
    return fault.ended + fault.lingers_s


def acked_by(run: Run, faults: Sequence[Fault]) -> float:
    """Return until when a run may have been unacknowledged: faults of the database hold its ack back."""
    if run.ended is None or run.outcome == "X":
        return math.inf
    until = run.ended + UNACKED_S
    for fault in faults:
        if (fault.everyone or fault.touches(run.pid)) and fault.began <= until and fault.ended >= run.ended:
            until = max(until, fault.ended + UNACKED_S)
    return until


def blind_share(
    runs: Sequence[Run], faults: Sequence[Fault], lease_s: float, rng: random.Random, returns_s: float = RETURNS_S
) -> float:
    """Return what part of invented repeats would be excused: of these runs, by one of their workers, a moment later.

    A bug that repeats jobs at random is overlooked only if each of its repeats is: the verdict can see it unless this
    is nearly 1.
    """
    ended = [run for run in runs if run.outcome == "E"]
    if not ended:
        return 0.0
    excused, newest = 0, max(run.lease for run in ended) + 1
    for run in ended:
        began = (run.ended or run.began) + rng.uniform(0.01, 5.0)
        again = replace(run, pid=rng.choice(ended).pid, began=began, ended=began, lease=run.lease and newest)
        excused += explain(run, again, faults, lease_s, returns_s) is not None
    return excused / len(ended)
