"""How a kept job ended, and how its end is waited for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from typing import Any

from fastq import codec
from fastq.errors import JobFailed, JobGone
from fastq.protocol import jobs
from fastq.protocol.asking import Request, Row
from fastq.states import JobState

_PAUSE_S = (0.005, 0.25)
_LOOKS = 20
"""After so many looks in vain, some 3 s, and so many again, it is asked whether there is such a job at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The state a job ended in, what its handler returned, and its last error's record."""

    state: JobState
    result: Any
    error: dict[str, Any] | None


def ending(job: int, *, shard: int = 0) -> Request[Ending | None]:
    """Ask how a job ended; None while it has not, or when it was not kept."""
    return Request(
        "find_finished_job", {"shard": shard, **jobs.of(job)}, lambda rows: _ending(rows[0]) if rows else None
    )


def _ending(row: Row) -> Ending:
    state, result, meta = row
    errors = [] if meta is None else codec.loads(meta).get("errors", [])
    return Ending(
        state=JobState(state),
        result=None if result is None else codec.loads(result),
        error=errors[-1] if errors else None,
    )


Waiting = Generator[Request[Any] | float, Any, Any]


def waiting(job: int) -> Waiting:
    """Yield what to ask and for how many seconds to pause, until the job has ended; return what its handler returned.

    Raises:
        JobFailed: it ended otherwise.
        JobGone: it is not there, or not any more.

    """
    pause_s = _PAUSE_S[0]
    for look in count(1):
        found = yield ending(job)
        if found is None and look % _LOOKS == 0 and (yield jobs.find(job)) is None:
            found = yield ending(job)  # it may have ended in between
            if found is None:
                raise JobGone(
                    f"job {job} is not there: it was deleted, or has ended and its task keeps no results (keep=…)"
                )
        if found is not None:
            return _result(job, found)
        yield pause_s
        pause_s = min(_PAUSE_S[1], pause_s * 1.5)
    raise AssertionError("count ends never")


def _result(job: int, found: Ending) -> Any:
    if found.state is JobState.SUCCEEDED:
        return found.result
    why = f": {found.error['type']}: {found.error['message']}" if found.error else ""
    raise JobFailed(f"job {job} {found.state}{why}", state=found.state, error=found.error)
