"""What a cell has shown: what was lost, what ran again and why, what was left behind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.faults import Fault
from chaos.jobs import kind_of
from chaos.ledger import Ledger, Run
from chaos.stage import Remains, Stage

UNACKED_S = 2.0
"""How long a finished job may stay unacknowledged, or be forgotten by a crash of the database afterwards."""

SHOWN = 8


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
    pause_s: float
    pause: list[str]
    lost: list[int]
    repeated: Counter[str] = field(default_factory=Counter)
    unexplained: list[int] = field(default_factory=list)
    effects_wrong: list[int] = field(default_factory=list)
    phantoms: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    gave_up: dict[str, int] = field(default_factory=dict)
    stories: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not (
            self.lost or self.unexplained or self.effects_wrong or self.phantoms or self.failed or self.leaks
            or self.troubles
        )  # fmt: skip

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
            "longest_pause_s": round(self.pause_s, 2),
            "lost": len(self.lost),
            "repeated": sum(self.repeated.values()),
            "repeated_by_cause": dict(self.repeated),
            "unexplained": len(self.unexplained),
            "effects_wrong": len(self.effects_wrong),
            "phantoms": len(self.phantoms),
            "failed": len(self.failed),
            "leaks": self.leaks,
            "troubles": self.troubles,
            "supervisors_gave_up": self.gave_up,
        }


def judge(stage: Stage, remains: Remains, seed: int) -> Verdict:
    """Return the verdict on a cell that has been played and has settled."""
    ledger = stage.ledger
    done = {n for n in ledger.ended if kind_of(n) != "booked"} | remains.effects.keys()
    verdict = Verdict(
        cell=stage.cell.name,
        seed=seed,
        load_s=stage.load_s,
        faults=Counter(fault.name for fault in stage.faults),
        acked=len(ledger.told.acked),
        unknown=len(ledger.told.unknown),
        refused=len(ledger.told.refused),
        runs=sum(ledger.starts.values()),
        retried=sum(ledger.failures.values()),
        pause_s=ledger.longest_pause_s,
        pause=[
            str(f)
            for f in stage.faults
            if ledger.paused_at - 2 < f.ended and f.began < ledger.paused_at + ledger.longest_pause_s
        ],
        lost=sorted(ledger.told.acked - done),
        effects_wrong=sorted(n for n, count in remains.effects.items() if count != 1 or kind_of(n) != "booked"),
        phantoms=sorted(ledger.told.refused & ledger.starts.keys()),
        failed=[number for number, _ in remains.failed],
        leaks=leaks_of(remains),
        troubles=list(stage.troubles),
        gave_up=dict(stage.gave_up),
    )
    _judge_repeats(verdict, ledger, stage.faults)
    _tell(verdict, stage)
    return verdict


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


def _judge_repeats(verdict: Verdict, ledger: Ledger, faults: Sequence[Fault]) -> None:
    often = {number for number, count in ledger.starts.items() if count > 1}
    for number, runs in ledger.runs(often).items():
        for run, again in pairwise(runs):
            if is_expected(run):
                continue
            cause = explain(run, again, faults)
            if cause is None:
                verdict.unexplained.append(number)
            else:
                verdict.repeated[f"{cause.name}, {_how(run, cause)}"] += 1


def _how(run: Run, cause: Fault) -> str:
    """Return how a fault found a job that ran again."""
    if run.began > cause.ended or not (cause.everyone or cause.touches(run.pid)):
        return "claimed"
    return "running" if run.ended is None or cause.began < run.ended else "unacknowledged"


def is_expected(run: Run) -> bool:
    """Tell whether another run must follow one: its handler raised, and was not cut off by us."""
    return run.outcome == "F" or (run.outcome == "X" and not run.detail.endswith("CancelledError"))


def explain(run: Run, again: Run, faults: Sequence[Fault]) -> Fault | None:
    """Return the fault for which a job that ran could run again, or None.

    It has to touch the run's process, or all, before the next run began and before the run's ack was surely down. Or it
    touched the process of the later run, which had claimed the job before, and started it when it was somebody else's.
    """
    until = min(acked_by(run, faults), again.began)
    for fault in faults:
        if not fault.repeats:
            continue
        if (fault.everyone or fault.touches(run.pid)) and fault.began <= until and _lasts(fault) >= run.began:
            return fault
        if fault.touches(again.pid) and fault.lingers_s and fault.began <= again.began <= _lasts(fault):
            return fault
    return None


def _lasts(fault: Fault) -> float:
    return fault.ended + fault.lingers_s


def acked_by(run: Run, faults: Sequence[Fault]) -> float:
    """Return until when a run may have been unacknowledged: faults of the database hold its ack back."""
    if run.ended is None or run.outcome == "X":
        return math.inf
    until = run.ended + UNACKED_S
    for fault in faults:
        if fault.everyone and fault.began <= until and fault.ended >= run.ended:
            until = max(until, fault.ended + UNACKED_S)
    return until


def _tell(verdict: Verdict, stage: Stage) -> None:
    """Write down the story of the first jobs of each kind of failure."""
    for what, numbers in (
        ("lost", verdict.lost),
        ("ran again for no fault", verdict.unexplained),
        ("has not exactly one effect", verdict.effects_wrong),
        ("ran though its enqueue was refused", verdict.phantoms),
        ("failed for good", verdict.failed),
    ):
        shown = sorted(set(numbers))[:SHOWN]
        runs = stage.ledger.runs(set(shown))
        for number in shown:
            lines = [f"{kind_of(number)} {number} {what}", *stage.ledger.acks(number)]
            lines += [str(run) for run in runs[number]] + stage.rows_of(number)
            verdict.stories.append("\n    ".join([*lines, *_near(runs[number], stage.faults)]))


def _near(runs: list[Run], faults: Sequence[Fault]) -> list[str]:
    """Return the faults around some runs."""
    if not runs:
        return []
    first, last = runs[0].began - 10, (runs[-1].ended or runs[-1].began) + 1
    return [f"fault {fault}" for fault in faults if fault.began <= last and fault.ended >= first]
