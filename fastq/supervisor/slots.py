"""The slot table: which process serves which slot, and when a slot gets its next one. Pure, no I/O.

A slot decides the CPU. It has a `worker`, and during a rolling replacement a `successor` too. A worker that was
asked to go (`leaving`) has no slot any more, or still has one only until its successor takes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fastq.supervisor.policy import Life, Record, RestartPolicy, Verdict, judge


@dataclass(slots=True, kw_only=True)
class Worker:
    """One live worker process. Times are monotonic seconds."""

    pid: int
    slot: int
    cell: int
    spawned_at: float
    ready_at: float | None = None
    kill_at: float = math.inf
    stopped: bool = False

    @property
    def leaving(self) -> bool:
        """Whether it was asked to go."""
        return self.kill_at < math.inf

    def ready_for(self, now: float) -> float | None:
        """Return for how long it has been ready."""
        return None if self.ready_at is None else now - self.ready_at


@dataclass(slots=True, kw_only=True)
class Slot:
    """One place for a worker."""

    number: int
    cpu: int | None = None
    record: Record = field(default_factory=Record)
    respawn_at: float = 0.0
    worker: Worker | None = None
    successor: Worker | None = None
    finished: bool = False


class SlotTable:
    """All slots and all live workers of one supervisor."""

    def __init__(self, count: int, cpus: tuple[int, ...], policy: RestartPolicy) -> None:
        self.cpus = cpus
        self.policy = policy
        self.slots: list[Slot] = []
        self.workers: dict[int, Worker] = {}
        for _ in range(count):
            self.grow()

    def grow(self) -> Slot:
        """Add a slot at the end."""
        number = len(self.slots)
        slot = Slot(number=number, cpu=self.cpus[number % len(self.cpus)] if self.cpus else None)
        self.slots.append(slot)
        return slot

    def shrink(self) -> list[Worker]:
        """Take the last slot away; return the workers that have to go. The first slot stays."""
        if len(self.slots) == 1:
            return []
        slot = self.slots.pop()
        return [worker for worker in (slot.worker, slot.successor) if worker is not None]

    def due(self, now: float) -> list[Slot]:
        """Return the slots that need a worker now."""
        return [slot for slot in self._vacant() if slot.respawn_at <= now]

    def place(self, slot: Slot, worker: Worker) -> None:
        """Enter a new worker: it takes the slot, or waits beside the one that holds it."""
        self.workers[worker.pid] = worker
        if slot.worker is None:
            slot.worker = worker
        else:
            assert slot.successor is None, "a slot has at most one successor"
            slot.successor = worker

    def promote(self, slot: Slot) -> Worker:
        """Give the slot to its successor; return the old worker, which has to go."""
        assert slot.worker is not None
        assert slot.successor is not None
        old, slot.worker, slot.successor = slot.worker, slot.successor, None
        return old

    def bury(self, pid: int, life: Life, now: float, *, burst: bool) -> tuple[Slot, Verdict] | None:
        """Take a dead worker out. Return its slot and what follows, or None where nothing does."""
        worker = self.workers.pop(pid)
        slot = next((s for s in self.slots if worker is s.worker or worker is s.successor), None)
        if slot is None:
            return None
        if worker is slot.successor:  # the roll notices that it is gone
            slot.successor = None
            return None
        slot.worker, slot.successor = slot.successor, None
        if slot.worker is not None:
            return None
        verdict = judge(self.policy, slot.record, life, burst=burst)
        slot.record, slot.finished = verdict.record, verdict.finished
        slot.respawn_at = now + verdict.delay_s
        return slot, verdict

    def forgive(self, now: float) -> None:
        """Let every vacant slot try again at once: the code may be a new one."""
        for slot in self._vacant():
            slot.record, slot.respawn_at = Record(), now

    def held_cells(self) -> set[int]:
        """Return the indexes of the cells that a live process holds."""
        return {worker.cell for worker in self.workers.values()}

    def finished(self) -> bool:
        """Tell whether every slot has done what it was there for."""
        return all(slot.finished for slot in self.slots)

    def looping(self, now: float) -> list[Slot]:
        """Return the slots in a crash loop, if no unfinished slot is outside of one; else []."""
        open_slots = [slot for slot in self.slots if not slot.finished]
        return open_slots if all(self._loops(slot, now) for slot in open_slots) else []

    def next_respawn(self) -> float:
        """Return when the next vacant slot is due."""
        return min((slot.respawn_at for slot in self._vacant()), default=math.inf)

    def _vacant(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.worker is None and not slot.finished]

    def _loops(self, slot: Slot, now: float) -> bool:
        ready_s = slot.worker.ready_for(now) if slot.worker else None
        healthy = ready_s is not None and ready_s >= self.policy.healthy_after_s
        return slot.record.strikes >= self.policy.max_strikes and not healthy
