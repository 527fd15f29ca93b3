"""The seat table: which process serves which seat, and when a seat gets its next one. Pure, no I/O.

A seat decides the CPU. It has a `worker`, and during a rolling replacement a `successor` too. A worker that was
asked to go (`leaving`) has no seat any more, or still has one only until its successor takes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fastq.supervisor.policy import Life, Record, RestartPolicy, Verdict, judge


@dataclass(slots=True, kw_only=True)
class Worker:
    """One live worker process. Times are monotonic seconds."""

    pid: int
    seat: int
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
class Seat:
    """One place for a worker."""

    number: int
    cpu: int | None = None
    record: Record = field(default_factory=Record)
    respawn_at: float = 0.0
    worker: Worker | None = None
    successor: Worker | None = None
    finished: bool = False


class SeatTable:
    """All seats and all live workers of one supervisor."""

    def __init__(self, count: int, cpus: tuple[int, ...], policy: RestartPolicy) -> None:
        self.cpus = cpus
        self.policy = policy
        self.seats: list[Seat] = []
        self.workers: dict[int, Worker] = {}
        for _ in range(count):
            self.grow()

    def grow(self) -> Seat:
        """Add a seat at the end."""
        number = len(self.seats)
        seat = Seat(number=number, cpu=self.cpus[number % len(self.cpus)] if self.cpus else None)
        self.seats.append(seat)
        return seat

    def shrink(self) -> list[Worker]:
        """Take the last seat away; return the workers that have to go. The first seat stays."""
        if len(self.seats) == 1:
            return []
        seat = self.seats.pop()
        return [worker for worker in (seat.worker, seat.successor) if worker is not None]

    def due(self, now: float) -> list[Seat]:
        """Return the seats that need a worker now."""
        return [seat for seat in self._vacant() if seat.respawn_at <= now]

    def place(self, seat: Seat, worker: Worker) -> None:
        """Enter a new worker: it takes the seat, or waits beside the one that holds it."""
        self.workers[worker.pid] = worker
        if seat.worker is None:
            seat.worker = worker
        else:
            assert seat.successor is None, "a seat has at most one successor"
            seat.successor = worker

    def promote(self, seat: Seat) -> Worker:
        """Give the seat to its successor; return the old worker, which has to go."""
        assert seat.worker is not None
        assert seat.successor is not None
        old, seat.worker, seat.successor = seat.worker, seat.successor, None
        return old

    def bury(self, pid: int, life: Life, now: float, *, burst: bool) -> tuple[Seat, Verdict] | None:
        """Take a dead worker out. Return its seat and what follows, or None where nothing does."""
        worker = self.workers.pop(pid)
        seat = next((s for s in self.seats if worker is s.worker or worker is s.successor), None)
        if seat is None:
            return None
        if worker is seat.successor:  # the roll notices that it is gone
            seat.successor = None
            return None
        seat.worker, seat.successor = seat.successor, None
        if seat.worker is not None:
            return None
        verdict = judge(self.policy, seat.record, life, burst=burst)
        seat.record, seat.finished = verdict.record, verdict.finished
        seat.respawn_at = now + verdict.delay_s
        return seat, verdict

    def forgive(self, now: float) -> None:
        """Let every vacant seat try again at once: the code may be a new one."""
        for seat in self._vacant():
            seat.record, seat.respawn_at = Record(), now

    def held_cells(self) -> set[int]:
        """Return the indexes of the cells that a live process holds."""
        return {worker.cell for worker in self.workers.values()}

    def finished(self) -> bool:
        """Tell whether every seat has done what it was there for."""
        return all(seat.finished for seat in self.seats)

    def looping(self, now: float) -> list[Seat]:
        """Return the seats in a crash loop, if no unfinished seat is outside of one; else []."""
        open_seats = [seat for seat in self.seats if not seat.finished]
        return open_seats if all(self._loops(seat, now) for seat in open_seats) else []

    def next_respawn(self) -> float:
        """Return when the next vacant seat is due."""
        return min((seat.respawn_at for seat in self._vacant()), default=math.inf)

    def _vacant(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.worker is None and not seat.finished]

    def _loops(self, seat: Seat, now: float) -> bool:
        ready_s = seat.worker.ready_for(now) if seat.worker else None
        healthy = ready_s is not None and ready_s >= self.policy.healthy_after_s
        return seat.record.strikes >= self.policy.max_strikes and not healthy
