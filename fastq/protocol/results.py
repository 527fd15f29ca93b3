"""How a kept job ended, and how its end is waited for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from fastq import codec
from fastq.errors import FastqError, JobFailed, JobGone
from fastq.protocol import jobs
from fastq.protocol.asking import Request, Row
from fastq.sql import on_cluster
from fastq.states import JobState

_PAUSE_S = (0.005, 0.25)
_LOOKS = 20
"""After so many looks in vain, some 3 s, and so many again, it is asked whether there is such a job at all."""

_ASKED_MOST = 20
"""So many are asked for then; of a long list the next ones the next time."""

_GONE = "job {} is not there: it was deleted, or has ended and its task keeps no results (keep=…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The state a job ended in, what its handler returned, and its last error's record."""

    state: JobState
    result: Any
    error: dict[str, Any] | None


def endings(wanted: Sequence[int]) -> Request[dict[int, Ending]]:
    """Ask how jobs ended; those that have not, or were not kept, are left out."""
    ids = [jobs.of(job)["id"] for job in wanted]
    name = "find_finished_anywhere" if on_cluster() else "find_finished_jobs"
    return Request(name, {"ids": ids}, lambda rows: {row[0]: _ending(row[1:]) for row in rows})


def _ending(row: Row) -> Ending:
    state, result, meta = row
    errors = [] if meta is None else codec.loads(meta).get("errors", [])
    return Ending(
        state=JobState(state),
        result=None if result is None else codec.loads(result),
        error=errors[-1] if errors else None,
    )


Outcomes = dict[int, Any]
"""What the handlers of jobs returned, or the errors that say why there is nothing."""

Waiting = Generator[Request[Any] | float, Any, Outcomes]


def waiting(wanted: Sequence[int], *, return_exceptions: bool = False) -> Waiting:
    """Yield what to ask and for how many seconds to pause, until the jobs have ended; return their outcomes.

    An outcome may be JobFailed (it ended otherwise) or JobGone (it is not there, or not any more): the first such one
    is raised, unless `return_exceptions`.
    """
    outcomes: Outcomes = {}
    left = list(dict.fromkeys(wanted))
    pause_s = _PAUSE_S[0]
    for look in count(1):
        found = yield endings(left)
        if look % _LOOKS == 0:
            gone = yield from _gone(_some([job for job in left if job not in found], look // _LOOKS - 1))
            found |= (yield endings(gone)) if gone else {}  # some may have ended in between
            outcomes |= {job: JobGone(_GONE.format(job)) for job in gone if job not in found}
        outcomes |= {job: _outcome(job, how) for job, how in found.items()}
        left = [job for job in left if job not in outcomes]
        if not return_exceptions and (bad := next((x for x in outcomes.values() if isinstance(x, FastqError)), None)):
            raise bad
        if not left:
            return outcomes
        yield pause_s
        pause_s = min(_PAUSE_S[1], pause_s * 1.5)
    raise AssertionError("count ends never")


def _some(wanted: Sequence[int], nth: int) -> Sequence[int]:
    """Return so many of them as are asked for at once, the n-th time the n-th so many, round and round."""
    at = nth * _ASKED_MOST % max(1, len(wanted))
    return [*wanted[at:], *wanted[:at]][:_ASKED_MOST]


def _gone(wanted: Sequence[int]) -> Generator[Request[Any], Any, list[int]]:
    """Return those jobs that are nowhere."""
    gone = []
    for job in wanted:
        if (yield jobs.find(job)) is None:
            gone.append(job)  # noqa: PERF401 - no comprehension can ask
    return gone


def _outcome(job: int, found: Ending) -> Any:
    if found.state is JobState.SUCCEEDED:
        return found.result
    why = f": {found.error['type']}: {found.error['message']}" if found.error else ""
    return JobFailed(f"job {job} {found.state}{why}", state=found.state, error=found.error)
