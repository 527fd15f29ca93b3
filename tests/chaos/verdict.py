"""What a cell has shown: what was lost, what ran again and why, what was left behind."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos import rules
from chaos.cells import Cell
from chaos.explain import RETURNS_S, blind_share, explain, is_planned, is_troubled
from chaos.faults import Fault
from chaos.kinds import TICK, kind_of
from chaos.ledger import Ledger, Run

SAMPLE = 2000
"""Of so many runs it is asked whether a repeat would be noticed."""

SHOWN = 8


@dataclass(slots=True)
class Remains:
    """What is left when everybody has gone."""

    rows: dict[str, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    memory: list[str] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    effects: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What is known of a cell that has been played; `rows_of` asks the database for what it has of a job."""

    cell: Cell
    seed: int
    ledger: Ledger
    faults: Sequence[Fault] = ()
    troubles: Sequence[str] = ()
    gave_up: Counter[str] = field(default_factory=Counter)
    load_s: float = 0.0
    rows_of: Callable[[int], list[str]] = lambda _: []


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The figures of one cell and, if it failed, the stories behind them."""

    cell: str
    seed: int
    load_s: float
    faults: Counter[str]
    acked: int
    unknown: int
    refused: int
    runs: int
    retried: int
    kinds: Counter[str]
    pause_s: float
    pause: list[str]
    lost: list[int]
    repeated: Counter[str] = field(default_factory=Counter)
    unexplained: list[int] = field(default_factory=list)
    effects_wrong: list[int] = field(default_factory=list)
    phantoms: list[int] = field(default_factory=list)
    raised: list[int] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    blind: float = 0.0
    failed: list[int] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    gave_up: dict[str, int] = field(default_factory=dict)
    stories: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything held."""
        wrong = (self.lost, self.unexplained, self.effects_wrong, self.phantoms, self.raised, self.broken, self.failed)
        return not (any(wrong) or self.leaks or self.troubles)

    def figures(self) -> dict[str, object]:
        """Return the verdict as one JSON object."""
        return {
            "cell": self.cell,
            "seed": self.seed,
            "good": self.good,
            "load_s": round(self.load_s, 1),
            "jobs_per_s": round(self.acked / self.load_s) if self.load_s else None,
            "faults": sum(self.faults.values()),
            "faults_by_name": dict(self.faults),
            "acknowledged": self.acked,
            "unknown": self.unknown,
            "refused": self.refused,
            "runs": self.runs,
            "retried": self.retried,
            "jobs_by_kind": dict(self.kinds),
            "longest_pause_s": round(self.pause_s, 2),
            "lost": len(self.lost),
            "repeated": sum(self.repeated.values()),
            "repeated_by_cause": dict(self.repeated),
            "unexplained": len(self.unexplained),
            "effects_wrong": len(self.effects_wrong),
            "phantoms": len(self.phantoms),
            "raised": len(self.raised),
            "rules_broken": len(self.broken),
            "repeats_that_would_be_excused": round(self.blind, 2),
            "failed": len(self.failed),
            "leaks": self.leaks,
            "troubles": self.troubles,
            "supervisors_gave_up": self.gave_up,
        }


def judge(played: Played, remains: Remains) -> Verdict:
    """Return the verdict on a cell that has been played and has settled."""
    ledger, told = played.ledger, played.ledger.told
    done = {n for n in ledger.ended if kind_of(n) != "booked"} | remains.effects.keys()
    verdict = Verdict(
        cell=played.cell.name,
        seed=played.seed,
        load_s=played.load_s,
        faults=Counter(fault.name for fault in played.faults),
        acked=len(told.acked),
        unknown=len(told.unknown),
        refused=len(told.refused),
        runs=sum(ledger.starts.values()),
        retried=sum(ledger.failures.values()),
        kinds=Counter(map(kind_of, ledger.ended)),
        pause_s=ledger.longest_pause_s,
        pause=[
            str(f)
            for f in played.faults
            if ledger.paused_at - 2 < f.ended and f.began < ledger.paused_at + ledger.longest_pause_s
        ],
        lost=sorted(told.acked - done),
        effects_wrong=sorted(n for n, count in remains.effects.items() if count != 1 or kind_of(n) != "booked"),
        phantoms=sorted(_phantoms(ledger)),
        broken=rules.broken(ledger, played.faults),
        failed=[number for number, _ in remains.failed],
        leaks=leaks_of(remains),
        troubles=list(played.troubles),
        gave_up=dict(played.gave_up),
    )
    _judge_runs(verdict, played)
    _tell(verdict, played)
    return verdict


def _phantoms(ledger: Ledger) -> set[int]:
    """Return what ran though its enqueue said that nothing was enqueued, or was never enqueued at all."""
    intended = {number for numbers in ledger.told.intended for number in numbers}
    ran = {number for number in ledger.starts if number < TICK}
    return (ledger.told.refused & ran) | (ran - intended)


def leaks_of(remains: Remains) -> list[str]:
    """Return what should not be there any more."""
    rows = [f"{count} rows in {table}" for table, count in remains.rows.items() if count]
    return [
        *rows,
        *remains.details,
        *(f"connection {c}" for c in remains.connections),
        *remains.processes,
        *remains.memory,
    ]


def _judge_runs(verdict: Verdict, played: Played) -> None:
    """Find the runs that nothing explains, and those that raised what nothing explains."""
    ledger, faults, lease_s = played.ledger, played.faults, played.cell.lease_s
    returns_s = math.inf if played.cell.jobs else RETURNS_S  # so many at once are a backlog, and the end of it is far
    often = {number for number, count in ledger.starts.items() if count > 1}
    runs_of = ledger.runs(often | ledger.raising)
    for number, runs in runs_of.items():
        if any(run.outcome == "X" and not is_troubled(run, faults) for run in runs):
            verdict.raised.append(number)
        for run, again in pairwise(runs):
            if is_planned(run, again, faults):
                continue
            cause = explain(run, again, faults, lease_s, returns_s)
            if cause is None:
                verdict.unexplained.append(number)
            else:
                verdict.repeated[f"{cause.name}, {_how(run, cause)}"] += 1
    rng = random.Random(played.seed)
    some = rng.sample(sorted(ledger.ended), min(SAMPLE, len(ledger.ended)))
    sampled = [run for runs in ledger.runs(set(some)).values() for run in runs]
    verdict.blind = blind_share(sampled, faults, lease_s, rng, returns_s)


def _how(run: Run, cause: Fault) -> str:
    """Return how a fault found a job that ran again."""
    if run.began > cause.ended or not (cause.everyone or cause.touches(run.pid)):
        return "claimed"
    return "running" if run.ended is None or cause.began < run.ended else "unacknowledged"


def _tell(verdict: Verdict, played: Played) -> None:
    """Write down the story of the first jobs of each kind of failure."""
    for what, numbers in (
        ("lost", verdict.lost),
        ("ran again for no fault", verdict.unexplained),
        ("has not exactly one effect", verdict.effects_wrong),
        ("ran though its enqueue was refused", verdict.phantoms),
        ("raised for no fault", verdict.raised),
        ("failed for good", verdict.failed),
        *((why, [number]) for number, why in sorted(verdict.broken.items())[:SHOWN]),
    ):
        shown = sorted(set(numbers))[:SHOWN]
        runs = played.ledger.runs(set(shown))
        for number in shown:
            lines = [f"{kind_of(number)} {number} {what}", *played.ledger.acks(number)]
            lines += [str(run) for run in runs[number]] + played.rows_of(number)
            verdict.stories.append("\n    ".join([*lines, *_near(runs[number], played.faults)]))


def _near(runs: list[Run], faults: Sequence[Fault]) -> list[str]:
    """Return the faults around some runs."""
    if not runs:
        return []
    first, last = runs[0].began - 10, (runs[-1].ended or runs[-1].began) + 1
    return [f"fault {fault}" for fault in faults if fault.began <= last and fault.ended >= first]
