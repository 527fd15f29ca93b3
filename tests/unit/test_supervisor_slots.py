"""The slot table: who serves what, through deaths, rolls and resizing."""

from __future__ import annotations

import signal

import pytest

from fastq.supervisor.exits import Exit
from fastq.supervisor.policy import Life, Record, RestartPolicy
from fastq.supervisor.slots import Slot, SlotTable, Worker

pytestmark = pytest.mark.unit

CRASH = Life(exit=Exit(signal.SIGSEGV), clean=False, ready_s=None, progressed=False, fleet_was_ready=True)
CLEAN = Life(exit=Exit(0), clean=True, ready_s=1.0, progressed=True, fleet_was_ready=True)


def table(count: int = 2, cpus: tuple[int, ...] = ()) -> SlotTable:
    """Return a new table."""
    return SlotTable(count, cpus, RestartPolicy())


def put(slots: SlotTable, slot: Slot, pid: int, **facts: object) -> Worker:
    """Place a worker."""
    worker = Worker(**{"pid": pid, "slot": slot.number, "cell": pid, "spawned_at": 0.0} | facts)
    slots.place(slot, worker)
    return worker


def loop(slots: SlotTable, slot: Slot, times: int = 5) -> None:
    """Let the slot's workers die that often."""
    for pid in range(times):
        put(slots, slot, 1000 + pid)
        slots.bury(1000 + pid, CRASH, 0.0, burst=False)


def test_slots_go_round_the_cpus() -> None:
    """More slots than CPUs begin again at the first."""
    assert [slot.cpu for slot in table(5, (4, 6)).slots] == [4, 6, 4, 6, 4]


def test_new_slots_are_due_at_once() -> None:
    """Until they have a worker."""
    slots = table()
    put(slots, slots.slots[0], 7)
    assert slots.due(0.0) == [slots.slots[1]]


def test_crashed_slot_is_due_after_its_backoff() -> None:
    """At once first, a tenth of a second later the next time."""
    slots = table(1)
    loop(slots, slots.slots[0], 2)
    assert (slots.due(0.05), slots.next_respawn(), len(slots.due(0.1))) == ([], 0.1, 1)


def test_second_worker_of_a_slot_is_its_successor() -> None:
    """It takes over when it is promoted."""
    slots = table(1)
    old, new = (put(slots, slots.slots[0], pid) for pid in (1, 2))
    assert slots.promote(slots.slots[0]) is old
    assert (slots.slots[0].worker, slots.slots[0].successor) == (new, None)
    assert slots.bury(1, CLEAN, 0.0, burst=False) is None


def test_successor_inherits_when_the_old_one_dies_first() -> None:
    """No third worker is started."""
    slots = table(1)
    _, new = (put(slots, slots.slots[0], pid) for pid in (1, 2))
    assert slots.bury(1, CRASH, 0.0, burst=False) is None
    assert (slots.slots[0].worker, slots.due(99.0)) == (new, [])


def test_death_of_a_successor_leaves_the_slot_alone() -> None:
    """The old worker serves on, and the slot's record is clean."""
    slots = table(1)
    old, _ = (put(slots, slots.slots[0], pid) for pid in (1, 2))
    assert slots.bury(2, CRASH, 0.0, burst=False) is None
    assert (slots.slots[0].worker, slots.slots[0].record) == (old, Record())


def test_shrink_takes_the_last_slot_and_never_the_first() -> None:
    """Its workers are handed out to be let go, and still hold their cells."""
    slots = table(2)
    worker = put(slots, slots.slots[1], 5)
    assert (slots.shrink(), slots.shrink(), len(slots.slots)) == ([worker], [], 1)
    assert slots.held_cells() == {5}


def test_finished_when_every_slot_had_a_clean_end_in_burst() -> None:
    """A finished slot is never due again."""
    slots = table(2)
    for pid, slot in enumerate(slots.slots):
        put(slots, slot, pid)
        slots.bury(pid, CLEAN, 0.0, burst=True)
    assert (slots.finished(), slots.due(99.0), slots.looping(0.0)) == (True, [], [])


def test_looping_needs_all_slots() -> None:
    """One slot in a crash loop is its own trouble; all of them are everyone's."""
    slots = table(2)
    loop(slots, slots.slots[0])
    assert slots.looping(0.0) == []
    loop(slots, slots.slots[1])
    assert slots.looping(0.0) == slots.slots


def test_slot_that_got_healthy_is_not_looping() -> None:
    """A worker that has been ready for a while proves the old record stale."""
    slots = table(2)
    for slot in slots.slots:
        loop(slots, slot)
    put(slots, slots.slots[0], 1, ready_at=0.0)
    assert slots.looping(9.9) == slots.slots
    assert slots.looping(10.0) == []


def test_forgive_makes_vacant_slots_due() -> None:
    """After a deploy, the backoff of the old code is void."""
    slots = table(1)
    loop(slots, slots.slots[0])
    slots.forgive(0.0)
    assert (slots.due(0.0), slots.slots[0].record) == (slots.slots, Record())
