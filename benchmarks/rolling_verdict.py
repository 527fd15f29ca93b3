"""What the producers and the runs of rolling.py have written down, judged. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

Line = Mapping[str, Any]
"""One line of a producer, or of a run: see rolling_producer.py and rolling_app.py."""

WRONG = ("lost", "not_once", "out_of_order", "overlapping", "keys_doubled", "ids_doubled", "unasked", "ticks_twice")
WRONG_TOO = ("ticks_missed", "producer_errors", "outcome_unknown", "left", "unexpected_ends", "log_errors", "idle")
"""Of these there has to be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the play: which schemas' fleets and producers are up during all of it."""

    name: str
    began: float
    ended: float
    fleets: tuple[int, ...]
    producers: tuple[int, ...]

    def has(self, at: float) -> bool:
        """Tell whether something was during it."""
        return self.began <= at < self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Everything that is known; `rows` are the jobs that rows were written for, `schemas` those of the producers."""

    acks: Sequence[Line]
    runs: Sequence[Line]
    rows: Sequence[str]
    phases: Sequence[Phase]
    schemas: Mapping[str, int]

    def taken(self) -> Iterator[Line]:
        """Yield what was acknowledged, duplicates of unique jobs left out."""
        return (ack for ack in self.acks if "id" in ack and not ack["duplicate"])

    def ended_well(self) -> Iterator[Line]:
        """Yield the runs of producers' jobs that did not fail on purpose."""
        return (run for run in self.runs if run["well"] and run["kind"] != "tick")


def figures(played: Played) -> dict[str, int]:
    """Return what was counted over all phases."""
    taken, ran = list(played.taken()), Counter(run["job"] for run in played.ended_well())
    asked, rows = {ack["job"] for ack in played.acks if "id" in ack or ack["unknown"]}, Counter(played.rows)
    errors = [ack for ack in played.acks if "error" in ack]
    return {
        "acknowledged": len(taken),
        "duplicates": sum(1 for ack in played.acks if ack.get("duplicate")),
        "lost": sum(1 for ack in taken if ack["job"] not in ran),
        "repeated": sum(1 for times in ran.values() if times > 1),
        "failed_on_purpose": sum(not run["well"] for run in played.runs),
        "in_transaction": sum(ack["kind"] == "once" for ack in taken),
        "not_once": sum(ack["kind"] == "once" and rows[ack["job"]] != 1 for ack in taken),
        "ordered": sum(ack["kind"] == "line" for ack in taken),
        **order(played),
        "keys": len({ack["key"] for ack in played.acks if "key" in ack}),
        "keys_doubled": keys_doubled(played),
        "ids_doubled": len(taken) - len({ack["id"] for ack in taken}),
        "unasked": len(ran.keys() - asked),
        **ticks(played),
        "producer_errors": sum(not ack["unknown"] for ack in errors),
        "outcome_unknown": sum(ack["unknown"] for ack in errors),
    }


def order(played: Played) -> dict[str, int]:
    """Count ordered jobs that began before one whose call had ended before theirs began, or while another one ran."""
    asked = {ack["job"]: ack for ack in played.taken() if ack["kind"] == "line"}
    place = {job: n for n, job in enumerate(asked)}
    lines: dict[str, list[Line]] = defaultdict(list)
    for run in sorted(played.runs, key=lambda run: float(run["began"])):
        if run["job"] in asked:
            lines[asked[run["job"]]["group"]].append(run)
    late = overlapping = 0
    for runs in lines.values():
        latest = 0.0
        overlapping += sum(after["began"] < before["ended"] for before, after in pairwise(runs))
        late += sum(_is_before(asked[b["job"]], asked[a["job"]], place) for a, b in pairwise(runs))
        for run in runs:
            late += asked[run["job"]]["acked"] < latest
            latest = max(latest, asked[run["job"]]["sent"])
    return {"out_of_order": late, "overlapping": overlapping}


def _is_before(one: Line, other: Line, place: Mapping[str, int]) -> bool:
    """Tell whether one job stood before another one in the same call."""
    return bool(one["sent"] == other["sent"] and place[one["job"]] < place[other["job"]])


def keys_doubled(played: Played) -> int:
    """Count jobs that were accepted although one with their key was there and had not run."""
    done = {run["job"]: run["ended"] for run in played.ended_well()}
    held: dict[str, float] = {}
    doubled = 0
    for ack in sorted((ack for ack in played.taken() if "key" in ack), key=lambda ack: float(ack["acked"])):
        doubled += ack["acked"] < held.get(ack["key"], 0.0)
        held[ack["key"]] = done.get(ack["job"], float("inf"))
    return doubled


def ticks(played: Played) -> dict[str, int]:
    """Count the occurrences of the schedule of each second, and those that there should have been between."""
    times = Counter(datetime.fromisoformat(run["job"]) for run in played.runs if run["kind"] == "tick")
    wanted = int((max(times) - min(times)).total_seconds()) + 1 if times else 0
    twice = sum(1 for count in times.values() if count > 1)
    return {"ticks": len(times), "ticks_twice": twice, "ticks_missed": wanted - len(times)}


def by_phase(played: Played) -> list[dict[str, Any]]:
    """Return a line for each phase: who acknowledged and who ran how many, and what went wrong in it."""
    ran = Counter(run["job"] for run in played.ended_well())
    return [_phase(played, phase, ran) for phase in played.phases]


def _phase(played: Played, phase: Phase, ran: Mapping[str, int]) -> dict[str, Any]:
    taken = [ack for ack in played.taken() if phase.has(ack["acked"])]
    errors = [ack for ack in played.acks if "error" in ack and phase.has(ack["acked"])]
    by_fleet = Counter(run["schema"] for run in played.ended_well() if phase.has(run["ended"]))
    by_producer = Counter(played.schemas[ack["job"].partition(":")[0]] for ack in taken)
    return {
        "phase": phase.name,
        "seconds": round(phase.ended - phase.began, 1),
        "acknowledged": {str(schema): count for schema, count in sorted(by_producer.items())},
        "ran": {str(schema): count for schema, count in sorted(by_fleet.items())},
        "lost": sum(1 for ack in taken if ack["job"] not in ran),
        "repeated": sum(1 for ack in taken if ran.get(ack["job"], 0) > 1),
        "producer_errors": len(errors),
        "slowest_start_ms": round(1000 * max(_starts(played, taken), default=0.0)),
        "idle": sum(not by_fleet[one] for one in phase.fleets) + sum(not by_producer[one] for one in phase.producers),
    }


def _starts(played: Played, taken: Sequence[Line]) -> Iterator[float]:
    """Yield how long after the call each plain job began, of those that were enqueued alone or in small streams."""
    began = {run["job"]: run["began"] for run in played.ended_well() if run["kind"] == "plain"}
    return (began[ack["job"]] - ack["sent"] for ack in taken if ack["job"] in began)


def wrong(found: Mapping[str, int]) -> dict[str, int]:
    """Return the figures that have to be zero and are not."""
    return {name: found[name] for name in (*WRONG, *WRONG_TOO) if found[name]}
