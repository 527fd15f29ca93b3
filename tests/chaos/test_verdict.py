"""The verdict can say BAD: invented ledgers, each with one fault of fastq's in it, and what may be excused is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.cells import CELLS
from chaos.explain import blind_share
from chaos.faults import Fault
from chaos.kinds import TICK, first_of, kind_of
from chaos.ledger import Ledger
from chaos.verdict import Played, Remains, Verdict, judge

pytestmark = pytest.mark.unit

FIRST = 100_000_000
WORKER, OTHER = 11, 12
DIES = Fault(name="worker kill -9", began=50.0, ended=50.01, pids=frozenset({WORKER}), repeats=True)
CRASH = Fault(name="postgres kill -9", began=50.0, ended=51.0, everyone=True, repeats=True, newest_lease=7)
RESTART = Fault(name="postgres fast", began=50.0, ended=51.0, everyone=True)


class World:
    """Invents what producers and jobs have written, and asks for the verdict."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[Fault] = []
        self.remains = Remains()
        self.jobs = 1000
        self.cell = CELLS["mix"]

    def number(self, kind: str, nth: int = 0) -> int:
        """Return a number of that kind."""
        return [n for n in range(FIRST, FIRST + 1000) if kind_of(n) == kind][nth]

    def told(self, mark: str, number: int, at: float, why: str = "") -> None:
        """Let the producer write a line."""
        with (self.folder / f"acks-{FIRST}-1.log").open("a") as file:
            file.write(f"{mark} {number} 1 {at:.6f} {why}\n")

    def enqueued(self, *numbers: int, at: float = 1.0) -> None:
        """Let jobs be enqueued, and acknowledged."""
        for number in numbers:
            self.told("I", number, at)
            self.told("A", number, at)

    def ran(
        self,
        number: int,
        began: float,
        ended: float | None = None,
        mark: str = "E",
        why: str = "",
        *,
        pid: int = WORKER,
        attempt: int = 1,
        lease: int = 7,
        job: int = 0,
    ) -> None:
        """Let a job run, in a lease; without an end if there is none. A job has one id, unless another one is given."""
        with (self.folder / f"runs-{pid}-1.log").open("a") as file:
            file.write(f"S {number} {began:.6f} {attempt} {job or number} {lease}\n")
            if ended is not None:
                file.write(f"{mark} {number} {ended:.6f} {why}\n")
        if kind_of(number) == "booked" and mark == "E" and ended is not None:
            self.remains.effects[number] = self.remains.effects.get(number, 0) + 1

    def verdict(self) -> Verdict:
        """Judge."""
        ledger = Ledger(self.folder)
        ledger.read()
        return judge(Played(cell=self.cell, seed=1, ledger=ledger, faults=self.faults), self.remains)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which jobs of each kind have run as they should."""
    made = World(tmp_path)
    for kind in ("instant", "nap", "threaded", "booked"):
        number = made.number(kind)
        made.enqueued(number)
        made.ran(number, 10.0, 10.1)
    number = made.number("stumble")
    made.enqueued(number)
    made.ran(number, 10.0, 10.1, "F")
    made.ran(number, 11.0, 11.1, attempt=2, pid=OTHER, lease=8)
    return made


def test_what_is_as_it_should_be_is_good(world: World) -> None:
    """A failure on purpose and the run after it included."""
    verdict = world.verdict()
    assert verdict.good, verdict.stories
    assert verdict.acked == 5
    assert verdict.retried == 1


def test_an_acknowledged_job_that_never_ran_is_lost(world: World) -> None:
    """Also one that began, and one that only failed."""
    never, began, failed = (world.number("nap", nth) for nth in (1, 2, 3))
    world.enqueued(never, began, failed)
    world.ran(began, 20.0)
    world.ran(failed, 20.0, 20.1, "X", "AttributeError")
    verdict = world.verdict()
    assert verdict.lost == sorted((never, began, failed))
    assert not verdict.good


def test_a_transactional_job_without_its_effect_is_lost_and_one_with_two_is_wrong(world: World) -> None:
    """What its handler wrote down does not count for it."""
    without, twice = world.number("booked", 1), world.number("booked", 2)
    world.enqueued(without, twice)
    world.ran(without, 20.0, 20.1)
    del world.remains.effects[without]
    world.ran(twice, 20.0, 20.1)
    world.remains.effects[twice] = 2
    verdict = world.verdict()
    assert (verdict.lost, verdict.effects_wrong) == ([without], [twice])
    assert not verdict.good


@pytest.mark.parametrize("faults", [[], [DIES], [RESTART]], ids=["none", "another worker", "a clean restart"])
def test_a_run_again_without_a_fault_that_may_repeat_it_is_bad(world: World, faults: list[Fault]) -> None:
    """A clean restart, and the death of another worker, excuse nothing."""
    number = world.number("nap", 1)
    world.faults = faults
    world.enqueued(number)
    world.ran(number, 50.0, 50.1, pid=OTHER)
    world.ran(number, 51.0, 51.1, pid=OTHER, lease=8)
    assert world.verdict().unexplained == [number]


@pytest.mark.parametrize(
    ("fault", "began", "ended", "again"),
    [
        (DIES, 49.9, None, 50.5),
        (DIES, 49.0, 49.5, 50.5),
        (CRASH, 49.0, 49.5, 52.0),
        (CRASH, 49.9, 50.2, 52.0),
        (CRASH, 51.5, 51.6, 51.55),
    ],
    ids=["died in it", "ack was on its way", "ack was not flushed", "ran through the crash", "claim was undone"],
)
def test_a_run_again_is_excused_by_a_fault_that_met_it(
    world: World, fault: Fault, began: float, ended: float | None, again: float
) -> None:
    """It ran at that time, or its ack was not yet safe, or its claim was undone."""
    number = world.number("nap", 1)
    world.faults = [fault]
    world.enqueued(number)
    world.ran(number, began, ended)
    world.ran(number, again, again + 0.1, pid=OTHER, lease=8)
    verdict = world.verdict()
    assert verdict.good, verdict.stories
    assert sum(verdict.repeated.values()) == 1


@pytest.mark.parametrize(
    ("fault", "ended", "again"),
    [(DIES, 48.5, 50.5), (CRASH, 48.5, 50.5), (DIES, 49.9, 125.0), (replace(CRASH, newest_lease=6), 51.5, 51.6)],
    ids=["acked long before the kill", "acked long before the crash", "far too late", "both claimed after the crash"],
)
def test_a_fault_excuses_nothing_far_from_it(world: World, fault: Fault, ended: float, again: float) -> None:
    """Neither a run whose ack was safe by then, nor one that comes when everything given back has run."""
    number = world.number("nap", 1)
    world.faults = [fault]
    world.enqueued(number)
    world.ran(number, ended - 0.1, ended)
    world.ran(number, again, again + 0.1, pid=OTHER, lease=8)
    assert world.verdict().unexplained == [number]


def test_a_failure_that_is_not_counted_is_a_repeat(world: World) -> None:
    """Who failed on purpose at the first attempt has to come back at a later one."""
    number = world.number("stumble", 1)
    world.enqueued(number)
    world.ran(number, 20.0, 20.1, "F")
    world.ran(number, 21.0, 21.1, "F", pid=OTHER, lease=8)
    world.ran(number, 22.0, 22.1, attempt=2, lease=9)
    assert world.verdict().unexplained == [number]


@pytest.mark.parametrize("error", ["AttributeError", "TypeError", "OperationalError", "LeaseLost", "CancelledError"])
def test_what_a_handler_raises_needs_a_fault(world: World, error: str) -> None:
    """However often it is tried again, and though it succeeds in the end."""
    number = world.number("nap", 1)
    world.enqueued(number)
    for attempt in range(1, 51):
        world.ran(number, 20.0 + attempt, 20.5 + attempt, "X", error, attempt=attempt, lease=attempt)
    world.ran(number, 80.0, 80.1, attempt=51, lease=51)
    verdict = world.verdict()
    assert verdict.raised == [number]
    assert not verdict.good


@pytest.mark.parametrize(
    ("error", "good"), [("OperationalError", True), ("AttributeError", False), ("KeyError", False)]
)
def test_an_outage_excuses_broken_connections_and_nothing_else(world: World, error: str, good: bool) -> None:
    """A mistake of ours during an outage is a mistake."""
    number = world.number("booked", 1)
    world.faults = [RESTART]
    world.enqueued(number)
    world.ran(number, 50.1, 50.4, "X", error)
    world.ran(number, 52.0, 52.1, attempt=2, lease=8)
    assert world.verdict().good is good


def test_a_refused_job_must_not_run(world: World) -> None:
    """Whatever the error was: it said that nothing was enqueued."""
    number = world.number("nap", 1)
    world.told("I", number, 20.0)
    world.told("R", number, 20.1, "PayloadTooLarge")
    world.ran(number, 21.0, 21.1)
    verdict = world.verdict()
    assert verdict.phantoms == [number]
    assert not verdict.good


def test_a_job_that_nobody_enqueued_must_not_run(world: World) -> None:
    """Its number was taken by no producer."""
    number = world.number("nap", 1)
    world.ran(number, 21.0, 21.1)
    assert world.verdict().phantoms == [number]


def test_a_job_that_was_enqueued_twice_is_seen_by_its_ids(world: World) -> None:
    """No fault excuses it: a call that was tried again has put the job in twice."""
    number = world.number("nap", 1)
    world.faults = [CRASH]
    world.enqueued(number)
    world.ran(number, 49.9, 50.2, job=1)
    world.ran(number, 52.0, 52.1, job=2, lease=8)
    verdict = world.verdict()
    assert verdict.broken == {number: "was enqueued twice"}
    assert not verdict.good


def test_one_occurrence_of_a_schedule_is_one_job(world: World) -> None:
    """An occurrence may run again like any job, but it is the same job."""
    world.ran(TICK + 100, 20.0, 20.1, job=1)
    assert world.verdict().good
    world.ran(TICK + 100, 20.0, 20.1, job=2, pid=OTHER)
    assert world.verdict().broken == {TICK + 100: "was enqueued twice"}


def test_ordered_jobs_must_not_overtake(world: World) -> None:
    """The second of a group began before the first had ended; another group's may."""
    base = first_of("ordered", FIRST)
    first, other, second = base, base + 1, base + 3
    world.enqueued(first, other, second)
    world.ran(first, 20.0, 20.5)
    world.ran(other, 20.1, 20.2)
    world.ran(second, 20.4, 20.6, pid=OTHER, lease=8)
    verdict = world.verdict()
    assert list(verdict.broken) == [second]
    assert not verdict.good


def test_ordered_jobs_wait_for_one_that_fails(world: World) -> None:
    """Its failure is not its end."""
    base = first_of("ordered", FIRST)
    world.enqueued(base, base + 3)
    world.ran(base, 20.0, 20.1, "F")
    world.ran(base + 3, 20.2, 20.3, lease=8)
    world.ran(base, 20.4, 20.5, attempt=2, lease=9)
    assert list(world.verdict().broken) == [base + 3]


def test_a_key_has_one_holder(world: World) -> None:
    """A second job with it was taken in while the first one ran."""
    base = first_of("unique", FIRST)
    world.enqueued(base, base + 1)
    world.ran(base, 20.0, 21.0)
    world.ran(base + 1, 20.5, 20.6, pid=OTHER, lease=8)
    assert list(world.verdict().broken) == [base + 1]


def test_a_duplicate_never_runs(world: World) -> None:
    """The producer was told that another job holds the key."""
    base = first_of("unique", FIRST)
    world.enqueued(base)
    world.ran(base, 20.0, 21.0)
    world.told("I", base + 1, 20.5)
    world.told("D", base + 1, 20.5)
    assert world.verdict().good
    world.ran(base + 1, 22.0, 22.1, lease=9)
    assert world.verdict().broken == {base + 1: "ran though it was a duplicate"}


def test_a_key_that_stays_held_is_seen(world: World) -> None:
    """Long after its job has ended, and no fault has held the ack back, another one was refused for it."""
    base = first_of("unique", FIRST)
    world.enqueued(base)
    world.ran(base, 20.0, 21.0)
    world.told("I", base + 1, 24.0)
    world.told("D", base + 1, 24.0)
    assert world.verdict().broken == {base + 1: "was refused for a key that nobody held"}
    world.faults = [replace(RESTART, began=20.5, ended=23.5)]
    assert world.verdict().good


def test_no_more_run_at_once_than_their_queue_allows(world: World) -> None:
    """Four at a time where three are allowed; but not if a fault took one of them from its worker."""
    base = first_of("limited", FIRST)
    numbers = range(base, base + 4)
    world.enqueued(*numbers)
    for nth, number in enumerate(numbers):
        world.ran(number, 20.0 + nth / 100, 20.5, pid=WORKER + nth, lease=nth)
    assert list(world.verdict().broken) == [base + 3]
    world.faults = [replace(DIES, began=20.2, ended=20.2)]
    assert world.verdict().good


def test_what_stays_behind_is_bad(world: World) -> None:
    """Rows, connections, processes, shared memory, failed jobs, and what the harness waited for in vain."""
    empty: Callable[[], Remains] = lambda: replace(world.remains)  # noqa: E731
    for leak in (
        {"rows": {"lease": 1}},
        {"connections": ["fastq"]},
        {"processes": ["12"]},
        {"memory": ["psm_1"]},
        {"failed": [(1, "")]},
    ):
        world.remains = replace(empty(), **leak)  # type: ignore[arg-type]
        assert not world.verdict().good, leak


# -- how much the verdict sees


def random_faults(rng: random.Random, workers: Iterable[int], seconds: float) -> list[Fault]:
    """Return faults of the kinds of the mix, one every two seconds: those that may repeat jobs are half of them."""
    pids = sorted(workers)
    faults = []
    for nth in range(int(seconds / 2)):
        began = 2.0 * nth
        dice = rng.random()
        if dice < 0.2:
            ended = began + rng.uniform(0.3, 1.0)
            faults.append(replace(CRASH, began=began, ended=ended, newest_lease=500))
        elif dice < 0.4:
            faults.append(replace(DIES, began=began, ended=began, pids=frozenset(rng.sample(pids, rng.choice((1, 3))))))
        elif dice < 0.5:
            pid = frozenset({rng.choice(pids)})
            faults.append(replace(DIES, name="deaf", began=began, ended=began + 8, pids=pid, lingers_s=4.0))
    return faults


def test_repeats_at_random_are_noticed_in_the_mix(tmp_path: Path) -> None:
    """Under a fault every two seconds less than half of them would be excused, so that three in a row hardly are."""
    rng = random.Random(5)
    world = World(tmp_path)
    numbers = [n for n in range(FIRST, FIRST + 4000) if kind_of(n) in ("nap", "threaded")]
    for number in numbers:
        began = rng.uniform(0, 120)
        world.ran(number, began, began + 0.01, pid=rng.choice((1, 2, 3, 4, 5, 6)), lease=rng.randrange(1, 1000))
    ledger = Ledger(tmp_path)
    ledger.read()
    runs = [run for some in ledger.runs(set(numbers)).values() for run in some]
    faults = random_faults(rng, range(1, 7), 120)
    assert blind_share(runs, faults, CELLS["mix"].lease_s, rng) < 0.5
    assert blind_share(runs, [RESTART], CELLS["mix"].lease_s, rng) == 0.0
