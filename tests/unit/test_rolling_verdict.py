"""The verdict of benchmarks/rolling.py can say that something was wrong: invented lines with one fault each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from benchmarks.rolling_sides import complaints
from benchmarks.rolling_verdict import Phase, Played, by_phase, figures, wrong

pytestmark = pytest.mark.unit

NOTHING = dict.fromkeys(("left", "unexpected_ends", "log_errors", "idle"), 0)
Lines = list[dict[str, Any]]


class Story:
    """Twelve jobs of one producer, three of them ordered, two with one key in turn, and three ticks: all went well."""

    def __init__(self) -> None:
        self.acks: Lines = []
        self.runs: Lines = []
        self.rows: list[str] = []
        ids = count(1024)
        for n, kind in enumerate(["plain", "line", "once", "only"] * 3):
            about: dict[str, Any] = {"kind": kind, "job": f"p-1:{n}"}
            times = {"sent": 10.0 + n, "acked": 10.1 + n}
            about |= {"group": "g"} if kind == "line" else {"key": f"key-{n}"} if kind == "only" else {}
            self.acks.append({**about, **times, "id": next(ids), "duplicate": False})
            self.run(kind, f"p-1:{n}", 10.2 + n)
            self.rows += [f"p-1:{n}"] if kind == "once" else []
        for second in range(3):
            self.run("tick", f"2026-01-02T03:04:0{second}+00:00", 10.0 + second)

    def run(self, kind: str, job: str, began: float, *, well: bool = True) -> None:
        """Let a job run."""
        self.runs.append({"kind": kind, "job": job, "schema": 18, "began": began, "ended": began + 0.1, "well": well})

    def played(self) -> Played:
        """Return it as it was written down."""
        phase = Phase(name="all", began=0.0, ended=100.0, fleets=(18,), producers=(18,))
        return Played(acks=self.acks, runs=self.runs, rows=self.rows, phases=[phase], schemas={"p-1": 18})


def test_nothing_is_wrong_with_what_went_well() -> None:
    """Nothing is, and all is counted."""
    found = figures(Story().played())
    assert wrong({**found, **NOTHING}) == {}
    assert (found["acknowledged"], found["in_transaction"], found["ordered"], found["ticks"]) == (12, 3, 3, 3)


def lose(story: Story) -> None:
    """A job that never ran."""
    del story.runs[0]


def fail(story: Story) -> None:
    """A job that ran, and never well."""
    story.runs[0]["well"] = False


def write_twice(story: Story) -> None:
    """A transaction that was committed twice."""
    story.rows.append(story.rows[0])


def write_nothing(story: Story) -> None:
    """A transaction that was not committed."""
    del story.rows[0]


def overtake(story: Story) -> None:
    """An ordered job that ran before an older one."""
    story.runs[1]["job"], story.runs[5]["job"] = story.runs[5]["job"], story.runs[1]["job"]


def overtake_in_one_call(story: Story) -> None:
    """The same, of jobs that were enqueued by one call."""
    for ack in story.acks:
        ack |= {"sent": 9.0, "acked": 9.1}
    overtake(story)


def overlap(story: Story) -> None:
    """An ordered job that began while another one ran."""
    story.runs[1]["ended"] = story.runs[5]["began"] + 0.01


def double_a_key(story: Story) -> None:
    """A unique job that was accepted while another one waited."""
    story.acks[7]["key"] = story.acks[3]["key"]
    story.runs[3] |= {"began": 30.0, "ended": 30.1}


def double_an_id(story: Story) -> None:
    """Two jobs of one id."""
    story.acks[1]["id"] = story.acks[0]["id"]


def run_what_nobody_asked_for(story: Story) -> None:
    """A job that was refused, and ran."""
    story.run("plain", "p-1:99", 20.0)


def tick_twice(story: Story) -> None:
    """An occurrence of two leaders."""
    story.runs.append(story.runs[-1])


def miss_a_tick(story: Story) -> None:
    """An occurrence of none."""
    del story.runs[-2]


def refuse(story: Story) -> None:
    """An error of a producer."""
    story.acks.append({"kind": "plain", "job": "p-1:99", "error": "no", "unknown": False, "sent": 9.0, "acked": 9.1})


def break_off(story: Story) -> None:
    """An outcome that is unknown."""
    story.acks.append({"kind": "plain", "job": "p-1:99", "error": "no", "unknown": True, "sent": 9.0, "acked": 9.1})


FAULTS: dict[Callable[[Story], None], str] = {
    lose: "lost",
    fail: "lost",
    write_twice: "not_once",
    write_nothing: "not_once",
    overtake: "out_of_order",
    overtake_in_one_call: "out_of_order",
    overlap: "overlapping",
    double_a_key: "keys_doubled",
    double_an_id: "ids_doubled",
    run_what_nobody_asked_for: "unasked",
    tick_twice: "ticks_twice",
    miss_a_tick: "ticks_missed",
    refuse: "producer_errors",
    break_off: "outcome_unknown",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_seen(fault: Callable[[Story], None]) -> None:
    """And nothing else is said to be wrong."""
    story = Story()
    fault(story)
    assert list(wrong({**figures(story.played()), **NOTHING})) == [FAULTS[fault]]


def test_what_ran_again_is_counted_and_is_no_fault() -> None:
    """At least once is what is promised."""
    story = Story()
    story.run("plain", "p-1:0", 40.0)
    found = figures(story.played())
    assert found["repeated"] == 1
    assert wrong({**found, **NOTHING}) == {}


def test_who_did_nothing_in_a_phase_is_idle() -> None:
    """A fleet that is up and runs nothing proves nothing."""
    played = Story().played()
    (line,) = by_phase(played)
    assert (line["acknowledged"], line["ran"], line["idle"]) == ({"18": 12}, {"18": 12}, 0)
    both = replace(played, phases=[replace(played.phases[0], fleets=(18, 19), producers=(18, 19))])
    assert by_phase(both)[0]["idle"] == 2


def test_a_log_complains_of_everything_but_what_fails_on_purpose() -> None:
    """An error, a traceback of another failure, a warning, and what is no record."""
    trace = "Traceback (most recent call last): …"
    records = [
        {"level": "info", "message": "worker 7 started in seat 0"},
        {"level": "warning", "message": "job 1 of t failed", "exception": f"{trace}\nRuntimeError: on purpose"},
        {"level": "warning", "message": "job 2 of t failed", "exception": f"{trace}\nValueError: no"},
        {"level": "error", "message": "worker 7 died"},
        {"level": "warning", "message": "slow"},
    ]
    log = "\n".join([*map(json.dumps, records), "Segmentation fault"])
    assert [(level, text.partition(" ")[0]) for level, text in complaints(log)] == [
        ("error", "job"),
        ("error", "worker"),
        ("warning", "slow"),
        ("error", "Segmentation"),
    ]
