"""What must hold between jobs, faults or not: order in a group, one holder of a key, no more at once than allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from chaos.explain import acked_by
from chaos.faults import Fault
from chaos.kinds import chain_of, has_rules, kind_of
from chaos.ledger import Ledger, Run, Told

MOST_RUNNING = 3
"""The limit of the queue of limited jobs."""

Runs = dict[int, list[Run]]


def broken(ledger: Ledger, faults: Sequence[Fault]) -> dict[int, str]:
    """Return the jobs that broke a rule, and which."""
    told = ledger.told
    runs = ledger.runs({number for number in ledger.starts if has_rules(number)})
    found = {number: "was enqueued twice" for number, jobs in ledger.jobs.items() if len(jobs) > 1}
    found |= dict.fromkeys(told.duplicate & ledger.starts.keys(), "ran though it was a duplicate")
    for kind in ("ordered", "unique"):
        found |= dict.fromkeys(
            out_of_turn(_chains(told.acked, kind), runs), f"began before the {kind} one before ended"
        )
    found |= dict.fromkeys(held_by_nobody(told, runs, faults), "was refused for a key that nobody held")
    limited = [run for n, some in runs.items() if kind_of(n) == "limited" for run in some]
    found |= dict.fromkeys(too_many(limited, faults), f"ran beside {MOST_RUNNING} others")
    return found


def _chains(numbers: Iterable[int], kind: str) -> list[list[int]]:
    """Return the numbers of a kind that have to run one after the other, in that order."""
    chains: dict[str, list[int]] = {}
    for number in sorted(numbers):
        if has_rules(number) and kind_of(number) == kind:
            chains.setdefault(chain_of(number), []).append(number)
    return list(chains.values())


def out_of_turn(chains: list[list[int]], runs: Runs) -> list[int]:
    """Return the jobs whose first run began before the first end of the job before them in their chain."""
    late = []
    for chain in chains:
        for before, after in pairwise(chain):
            began = min((run.began for run in runs.get(after, ())), default=None)
            ended = min((run.ended for run in runs.get(before, ()) if run.outcome == "E" and run.ended), default=None)
            if began is not None and (ended is None or began < ended):
                late.append(after)
    return late


def held_by_nobody(told: Told, runs: Runs, faults: Sequence[Fault]) -> list[int]:
    """Return the duplicates whose key no job can have held when they were enqueued: every one had ended long before."""
    wrong = []
    for chain in _chains(told.duplicate | told.acked | told.unknown, "unique"):
        for place, number in enumerate(chain):
            others = [n for n in chain[:place] if n not in told.duplicate]
            if number in told.duplicate and all(
                _has_freed(runs.get(n, []), told.asked[number], faults) for n in others
            ):
                wrong.append(number)
    return wrong


def _has_freed(runs: list[Run], by: float, faults: Sequence[Fault]) -> bool:
    """Tell whether a job has ended for certain, and given back its key."""
    ends = [run for run in runs if run.outcome == "E"]
    return bool(ends) and len(ends) == len(runs) and all(acked_by(run, faults) < by for run in ends)


def too_many(runs: list[Run], faults: Sequence[Fault]) -> list[int]:
    """Return the jobs that began while as many as allowed were running, none of which a fault has touched.

    A run of a worker that was killed, frozen or cut off may have been given to another one: those are left out.
    """
    sound = [run for run in runs if run.ended is not None and not _is_touched(run, faults)]
    return [
        run.number
        for run in sound
        if sum(other.began <= run.began < (other.ended or 0.0) for other in sound) > MOST_RUNNING
    ]


def _is_touched(run: Run, faults: Sequence[Fault]) -> bool:
    ended = acked_by(run, faults)
    return any(
        fault.repeats
        and (fault.everyone or fault.touches(run.pid))
        and fault.began <= ended
        and run.began <= fault.ended + fault.lingers_s
        for fault in faults
    )
