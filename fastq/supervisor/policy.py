"""Whether, and after how long, a dead worker is replaced. Pure: the supervisor tells it what happened.

A *failure* is a death that was not clean; failures in a row set the backoff. A *strike* is a failure that came
quickly and without one settled job; strikes in a row are a crash loop. A worker that has been ready for a while
starts its seat's record anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastq.states import ExitCode
from fastq.supervisor.exits import Exit

_CODES_AT_START = (ExitCode.USAGE, ExitCode.DATABASE, ExitCode.SCHEMA)
_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """First restart at once, then `base_s` doubling up to `cap_s`; `max_strikes` in a row are a crash loop."""

    base_s: float = 0.1
    cap_s: float = 5.0
    healthy_after_s: float = 10.0
    max_strikes: int = 5


# The steward is alone: nothing may keep it away for longer than a second.
STEWARD_POLICY = RestartPolicy(base_s=0.1, cap_s=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a seat remembers of its dead workers."""

    failures: int = 0
    strikes: int = 0
    last_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of a worker that died.

    `clean`: it exited with 0 and had freed its cell. `ready_s`: how long it had been ready, None if it never was.
    `progressed`: it had settled a job. `fleet_was_ready`: some worker of this supervisor was ready once.
    """

    exit: Exit
    clean: bool
    ready_s: float | None
    progressed: bool
    fleet_was_ready: bool

    @property
    def excused(self) -> bool:
        """A database that was there once and is away now is an outage to wait out, not a crash loop."""
        return self.exit.code == ExitCode.DATABASE and self.fleet_was_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the seat does next: nothing more, or another worker in `delay_s`."""

    record: Record
    delay_s: float = 0.0
    finished: bool = False


def backoff_s(policy: RestartPolicy, failures: int) -> float:
    """Return the wait before the restart that follows `failures` failures in a row."""
    if failures <= 1:
        return 0.0
    return float(min(policy.cap_s, policy.base_s * 2 ** min(failures - 2, _LARGEST_EXPONENT)))


def judge(policy: RestartPolicy, record: Record, life: Life, *, burst: bool) -> Verdict:
    """Decide what follows a worker's death."""
    if life.clean:
        return Verdict(record=Record(), finished=burst)
    if life.ready_s is not None and life.ready_s >= policy.healthy_after_s:
        record = Record()
    failures = record.failures + 1
    strikes = _strikes(policy, record, life)
    after = Record(failures=failures, strikes=strikes, last_code=life.exit.code)
    return Verdict(record=after, delay_s=backoff_s(policy, failures))


def _strikes(policy: RestartPolicy, record: Record, life: Life) -> int:
    if life.excused:
        return record.strikes
    healthy = life.ready_s is not None and life.ready_s >= policy.healthy_after_s
    return 0 if life.progressed or healthy else record.strikes + 1


def loop_code(records: Iterable[Record], *, fleet_was_ready: bool) -> ExitCode:
    """Return the exit code when every seat is in a crash loop.

    When no worker ever got ready and all failed for the same stated reason, that reason says more than 6. A schema that
    is not theirs any more is one at any time: the database was migrated under them.
    """
    codes = {record.last_code for record in records}
    if len(codes) == 1 and (not fleet_was_ready or codes == {ExitCode.SCHEMA}):
        for code in _CODES_AT_START:
            if code in codes:
                return code
    return ExitCode.CRASH_LOOP
