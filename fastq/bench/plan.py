"""What a bench run is asked to do. Values only, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fastq.errors import FastqError, UsageError


class Scenario(StrEnum):
    """What can be measured."""

    THROUGHPUT = "throughput"
    ENQUEUE = "enqueue"
    LATENCY = "latency"
    SCALE = "scale"
    PAYLOAD = "payload"
    DEPTH = "depth"
    STEADY = "steady"
    PINNED = "pinned"
    LOAD = "load"


class Job(StrEnum):
    """What the jobs of `throughput` do: nothing, sleep a millisecond, nothing in a thread."""

    NOOP = "noop"
    NAP = "nap"
    SYNC = "sync"


SHORT = (Scenario.THROUGHPUT, Scenario.ENQUEUE, Scenario.LATENCY)
"""What is measured where no scenario is named."""

DEFAULT_JOBS = {
    Scenario.THROUGHPUT: 500_000,
    Scenario.ENQUEUE: 500_000,
    Scenario.LATENCY: 1000,
    Scenario.SCALE: 500_000,
    Scenario.PAYLOAD: 200_000,
    Scenario.DEPTH: 5_000_000,
}
DEFAULT_SECONDS = {Scenario.STEADY: 30.0, Scenario.PINNED: 60.0, Scenario.LOAD: 20.0}
DEFAULT_PAYLOAD_BYTES = 51
"""The payload of the yardstick, prototypes/drain.py."""


class BenchError(FastqError):
    """The bench could not measure: a worker died, or the database does something else than expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of one run.

    `jobs` is None for each scenario's own default; for latency it is the number of samples over all repetitions. So is
    `seconds`, of the scenarios that take a time; they do not repeat.
    """

    processes: int
    jobs: int | None = None
    concurrency: int = 100
    batch_size: int = 500
    repeat: int = 3
    payload_bytes: int = DEFAULT_PAYLOAD_BYTES
    job: Job = Job.NOOP
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        for name, least in (
            ("processes", 1),
            ("concurrency", 1),
            ("batch_size", 1),
            ("repeat", 1),
            ("payload_bytes", 30),
        ):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.jobs is not None and self.jobs < 10:
            raise UsageError(f"jobs must be at least 10 to say anything, not {self.jobs}")

        if self.seconds is not None and self.seconds < 1:
            raise UsageError(f"--duration must be at least 1 second, not {self.seconds}")

    def seconds_for(self, scenario: Scenario) -> float:
        """Return for how long a scenario is measured."""
        return DEFAULT_SECONDS[scenario] if self.seconds is None else self.seconds

    def jobs_for(self, scenario: Scenario) -> int:
        """Return how many jobs a scenario goes through."""
        return DEFAULT_JOBS[scenario] if self.jobs is None else self.jobs
