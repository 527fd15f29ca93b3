"""What a bench run is asked to do. Values only, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fastq.errors import FastqError, UsageError


class JobKind(StrEnum):
    """What the jobs of `throughput` do: nothing, sleep a millisecond, nothing in a thread."""

    NOOP = "noop"
    NAP = "nap"
    SYNC = "sync"


DEFAULT_PAYLOAD_BYTES = 51
"""The payload of the yardstick, prototypes/drain.py."""


class BenchError(FastqError):
    """The bench could not measure: a worker died, or the database does something else than expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """The settings of one run.

    `jobs` and `seconds` are None for each scenario's own default. For latency `jobs` is the number of samples over all
    repetitions; scenarios that take a time do not repeat.
    """

    processes: int
    jobs: int | None = None
    concurrency: int = 100
    batch_size: int = 500
    repeat: int = 3
    payload_bytes: int = DEFAULT_PAYLOAD_BYTES
    job: JobKind = JobKind.NOOP
    seconds: float | None = None
    singles: bool = False

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
