"""What becomes of a job when its run has ended, or will not be. Pure decisions; `protocol.settle` carries them out.

run ──► success                    acknowledged; finished (succeeded), if its task keeps them
    ├─► next step                  ready or scheduled, as another task, attempts from 0
    ├─► exception, attempts left   scheduled (retrying), attempt + 1
    ├─► exception, none left       finished (failed)
    ├─► Retry / Snooze / Discard   as raised
    ├─► its transaction undone     scheduled, attempt as it was; after ten times as any exception
    ├─► payload does not fit       finished (failed), at once
    ├─► not begun in its time        finished (expired)
    ├─► ended after it was cancelled  finished (cancelled), unless it succeeded or was discarded
    └─► worker died while running  ready, crash + 1; finished (failed) at max_crashes

A run ends in one value, an `End`. `conclude` makes of it where the job goes, and always makes something: an end that
cannot be put into words makes the job fail, with the reason.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from fastq.backoff import RETRIES, Backoff, Exponential, full_jitter_s
from fastq.config import RETRIES_MOST
from fastq.ends.ending import (
    Cancelled,
    Died,
    End,
    Exhausted,
    Expired,
    GivenBack,
    Interrupted,
    Raised,
    Stepped,
    Succeeded,
    Unreadable,
)
from fastq.ends.failure import Record, error_record, message_of, record
from fastq.ends.meta import Meta
from fastq.ends.settlement import NO_PAYLOAD, LeasedJob, Settlement
from fastq.flow import Discard, Flow, Retry, Snooze, bounded_s
from fastq.states import Goes, JobState

log = logging.getLogger("fastq.worker")

MOST_ERRORS = 10
MOST_INTERRUPTED = 10
MOST_ATTEMPT = 2**15 - 1
"""What the column `attempt` holds at most."""

KeepPayload = bool | Literal["failed"]
_LASTING = ("unique", "headers", "ordered")
_HELD = ("unique", "ordered")
_SUSPICIONS = ("crashes", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a task's failed jobs run again, at most `retries` + 1 runs, and how long ended ones are kept.

    `keep_s`: seconds for those that succeeded, None to delete them at once. Infinity is for ever.
    `keep_payload`: whether they are kept with their arguments, or only those that did not succeed.
    """

    retries: int = RETRIES
    backoff: Backoff = field(default_factory=Exponential)
    keep_s: float | None = None
    keep_failed_s: float = inf
    keep_payload: KeepPayload = True

    @property
    def payload(self) -> str | None:
        """What a settlement says of the payload of a job that is kept and did not succeed."""
        return None if self.keep_payload else NO_PAYLOAD

    @property
    def payload_of_success(self) -> str | None:
        """The same of one that succeeded."""
        return None if self.keep_payload is True else NO_PAYLOAD

    def retries_of(self, meta: Meta | None) -> int:
        """Return how often a job may be tried again, which it can say itself."""
        return int((meta or {}).get("retries", self.retries))


BY_DEFAULT = RetryPolicy()


def conclude(job: LeasedJob, end: End, policy: RetryPolicy = BY_DEFAULT) -> Settlement:
    """Return where a job goes. Never raises, whatever its row, its exception or its task's backoff are made of."""
    try:
        return decide(job, end, policy)
    except BaseException as exc:  # noqa: BLE001 - the job has to go somewhere
        failed = _kept(job, JobState.FAILED, policy, meta=job.meta, ran=not isinstance(end, GivenBack))
        return next(plainer(failed, message_of(exc)))


def decide(job: LeasedJob, end: End, policy: RetryPolicy = BY_DEFAULT) -> Settlement:
    """Return where a job goes, as `conclude` does, but let out what goes wrong on the way."""
    match end:
        case Succeeded():
            return _succeeded(job, end, policy)
        case Stepped():
            return _stepped(job, end)
        case Raised():
            return _raised(job, end, policy)
        case Interrupted():
            return _interrupted(job, end, policy)
        case Cancelled():
            return _cancelled(job, end, policy)
        case Died():
            return _died(job, end)
        case Unreadable():
            meta = _with_error(job.meta, record("Unreadable", end.why, _counted(job)))
            return _to(job, Goes.FINISHED, JobState.FAILED, meta=meta, ran=True)
        case Expired() | Exhausted():
            state = JobState.EXPIRED if isinstance(end, Expired) else JobState.FAILED
            return _kept(job, state, policy, meta=job.meta, ran=False)
        case GivenBack():
            return _to(job, Goes.READY, meta=job.meta)


def done(job: LeasedJob) -> Settlement:
    """Let a job that succeeded go, and with it what it held."""
    return _to(job, Goes.DONE, meta=job.meta, ran=True)


def _counted(job: LeasedJob) -> int:
    """Return how many attempts are counted once this run is one of them."""
    return min(max(0, job.attempt) + 1, MOST_ATTEMPT)


def _to(
    job: LeasedJob,
    goes: Goes,
    state: JobState | str = "",
    *,
    meta: Meta | None,
    ran: bool = False,
    delay_s: float = 0.0,
) -> Settlement:
    attempt = _counted(job) if ran else job.attempt
    return Settlement(
        lease=job.lease, ord=job.ord, id=job.id, goes=goes, state=state, delay_s=delay_s, attempt=attempt, meta=meta
    )


def _kept(job: LeasedJob, state: JobState, policy: RetryPolicy, *, meta: Meta | None, ran: bool) -> Settlement:
    """Keep a job that did not succeed for as long as its task says, with its arguments or without."""
    kept = _to(job, Goes.FINISHED, state, meta=meta, ran=ran)
    return replace(kept, keep_s=_expiry_s(policy.keep_failed_s), payload=policy.payload)


def _expiry_s(keep_s: float) -> float | None:
    return None if keep_s == inf else keep_s


def _succeeded(job: LeasedJob, end: Succeeded, policy: RetryPolicy) -> Settlement:
    """Keep a job that succeeded, or let it go if its task keeps none; success clears its errors."""
    if policy.keep_s is None:
        return done(job)
    kept = _to(job, Goes.FINISHED, JobState.SUCCEEDED, meta=_lasting(job.meta), ran=True)
    return replace(kept, keep_s=_expiry_s(policy.keep_s), payload=policy.payload_of_success, result=end.result)


def _lasting(meta: Meta | None) -> Meta | None:
    """Return what of a job's meta outlasts a success: what it was enqueued with."""
    return {key: value for key, value in (meta or {}).items() if key in _LASTING and value} or None


def _stepped(job: LeasedJob, end: Stepped) -> Settlement:
    """Let a job go on as another task; its attempts start anew, its errors and checkpoint are behind it."""
    goes, state = (Goes.SCHEDULED, JobState.SCHEDULED) if end.delay_s else (Goes.READY, "")
    gone_on = _to(job, goes, state, meta=_lasting(job.meta), delay_s=end.delay_s or 0.0)
    return replace(gone_on, attempt=0, task=end.task, payload=end.payload)


def _raised(job: LeasedJob, end: Raised, policy: RetryPolicy) -> Settlement:
    error, attempt = end.error, _counted(job)
    if isinstance(error, Snooze):
        return _to(job, Goes.SCHEDULED, JobState.SCHEDULED, meta=job.meta, delay_s=error.delay_s)
    meta = _with_error(job.meta, error_record(error, attempt))
    if isinstance(error, Discard):
        return _kept(job, JobState.DISCARDED, policy, meta=meta, ran=True)
    retries = policy.retries_of(job.meta)
    if isinstance(error, Retry) and error.extra_retries:
        retries = meta["retries"] = min(retries + error.extra_retries, RETRIES_MOST)
    if end.final or attempt > retries:
        return _kept(job, JobState.FAILED, policy, meta=meta, ran=True)
    delay_s = error.delay_s if isinstance(error, Retry) else None
    if delay_s is None:
        delay_s = _backoff_s(job.task, policy.backoff, attempt)
    return _to(job, Goes.SCHEDULED, JobState.RETRYING, meta=meta, ran=True, delay_s=delay_s)


def _interrupted(job: LeasedJob, end: Interrupted, policy: RetryPolicy) -> Settlement:
    """Run a job again without an attempt, soon; if that happens again and again, it is a failure as any other."""
    times = (job.meta or {}).get("interrupted", 0) + 1
    if times > MOST_INTERRUPTED:
        return _raised(job, Raised(end.error), policy)
    meta = {**(job.meta or {}), "interrupted": times}
    return _to(job, Goes.SCHEDULED, JobState.SCHEDULED, meta=meta, delay_s=full_jitter_s(times))


def _with_error(meta: Meta | None, told: Record) -> Meta:
    """Return `meta` with one error more. A run that ended by itself clears the suspicion of killing workers."""
    meta = {key: value for key, value in (meta or {}).items() if key not in _SUSPICIONS}
    meta["errors"] = [*meta.get("errors", []), told][-MOST_ERRORS:]
    return meta


def _backoff_s(task: str, backoff: Backoff, attempt: int) -> float:
    """Return what the task's own backoff says; the default's if it fails."""
    try:
        return bounded_s(backoff(attempt))
    except Exception:
        log.exception("the backoff of %s failed; the default is taken", task, extra={"per": task})
        return Exponential()(attempt)


def _cancelled(job: LeasedJob, end: Cancelled, policy: RetryPolicy) -> Settlement:
    """End a job that somebody cancelled: it did not start, or its run raised something after it was asked to stop."""
    error, meta = end.error, job.meta
    if isinstance(error, Exception) and not isinstance(error, Flow):  # asyncio.CancelledError is none
        meta = _with_error(meta, error_record(error, _counted(job)))
    return _kept(job, JobState.CANCELLED, policy, meta=meta, ran=error is not None)


def _died(job: LeasedJob, end: Died) -> Settlement:
    """Give a job back whose worker died; one that ran is charged a crash, and fails after so many of them."""
    if job.cancelled:
        return _cancelled(job, Cancelled(), BY_DEFAULT)
    if job.unreadable:
        return decide(job, Unreadable(job.unreadable))
    if not end.ran:
        return decide(job, GivenBack())
    crashes = (job.meta or {}).get("crashes", 0) + 1
    message = f"the worker process ended by {end.cause} while it ran this job"
    meta = _with_error(job.meta, record("WorkerDied", message, _counted(job))) | {"crashes": crashes}
    if crashes >= end.max_crashes:
        return _to(job, Goes.FINISHED, JobState.FAILED, meta=meta, ran=end.counts)
    return _to(job, Goes.READY, meta=meta, ran=end.counts)


def exhausted(job: LeasedJob, policy: RetryPolicy) -> bool:
    """Tell whether a job may not run once more, because its worker died in its last attempt."""
    return job.attempt > policy.retries_of(job.meta)


def death_of(wait_status: int) -> str:
    """Return how a process ended, from its wait status: "SIGKILL", "exit code 1"."""
    code = wait_status & 0x7F
    if not code:
        return f"exit code {wait_status >> 8}"
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"signal {code}"


# -- what cannot be written


def plainer(settlement: Settlement, reason: str, *, taken: bool = False) -> Iterator[Settlement]:
    """Yield plainer and plainer settlements for a job whose real one cannot be written, because of `reason`.

    They keep it as failed, with the reason; `taken`: under a new id, since another job has its own. The later ones
    leave what it holds, a unique key or the head of a line, to the steward; the last has no arguments and a new id.
    """
    if settlement.goes is Goes.DONE:
        yield replace(settlement, meta=None)
        return
    meta = settlement.meta or {}
    told = record("NotWritten", f"{_what(settlement)} could not be written: {reason}", settlement.attempt)
    errors = [*(last for last in meta.get("errors", [])[-1:] if _is_plain(last)), told]
    held = {name: meta[name] for name in _HELD if name in meta}
    plain = Settlement(
        lease=settlement.lease,
        ord=settlement.ord,
        id=settlement.id,
        goes=Goes.FINISHED,
        state=JobState.FAILED,
        attempt=settlement.attempt,
        meta={**held, "errors": errors},
        payload=NO_PAYLOAD if settlement.payload == NO_PAYLOAD else None,
        anew=taken,
    )
    yield plain
    loose = replace(plain, meta={"errors": errors})
    yield loose
    yield replace(loose, payload=NO_PAYLOAD, anew=True)


def _what(settlement: Settlement) -> str:
    """Return what became of a job, as the beginning of a sentence."""
    if settlement.state == JobState.SUCCEEDED:
        return "succeeded, and the result"
    if settlement.state == JobState.CANCELLED:
        return "cancelled, and that"
    if settlement.goes is Goes.READY or settlement.state == JobState.SCHEDULED:
        return "put back into line, and that"
    return "failed, and the failure"


def _is_plain(told: Record) -> bool:
    return all(type(value) in (str, int) for value in told.values())
