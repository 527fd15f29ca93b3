"""The words for what a job and a worker process can be. No behaviour here.

A job's state is the table it stands in:

    enqueue ──► ready ──claim──► lease ("running") ──ack──► gone, or kept in finished
                  ▲                │
                  │                ├─ failed attempt ──► scheduled ──due──► ready
                  └── returned ────┘

    An ordered job that has others before it is "waiting" in its line, until it is the first.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class JobState(StrEnum):
    """Where a job stands; the `state` column of the view `fastq.job`."""

    READY = "ready"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    RETRYING = "retrying"
    RESERVED = "reserved"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISCARDED = "discarded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Goes(StrEnum):
    """The table that a claimed job is settled into when it is not simply acknowledged; DONE is none.

    A job goes to DONE whose success has to be written down with something else: that its unique key is free.
    """

    READY = "ready"
    SCHEDULED = "scheduled"
    FINISHED = "finished"
    DONE = "done"


class CellState(IntEnum):
    """What a worker process is doing, as its cell of the shared board says.

    FREE ─spawn─► STARTING ─registered─► RUNNING ─signal─► DRAINING ─exit 0─► FREE
                     └────────── died ─────┴─────────────────┴──► DEAD ─reaped─► FREE
    """

    FREE = 0
    STARTING = 1
    RUNNING = 2
    DRAINING = 3
    DEAD = 4

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self in (CellState.STARTING, CellState.RUNNING, CellState.DRAINING)

    @property
    def working(self) -> bool:
        """Whether it is registered: it may hold leases and run jobs."""
        return self in (CellState.RUNNING, CellState.DRAINING)


class ExitCode(IntEnum):
    """The exit codes of the supervisor, and of its workers, as docs/supervisor.md explains them."""

    OK = 0
    CRASH = 1
    USAGE = 2
    DATABASE = 3
    SCHEMA = 4
    OVERRAN = 5
    CRASH_LOOP = 6
