"""What becomes of a job whose run did not simply succeed. Pure decisions; `protocol.settle` carries them out.

run ──► success                    acknowledged; finished (succeeded), if its task keeps them
    ├─► next step                  ready or scheduled, as another task, attempts from 0
    ├─► exception, attempts left   scheduled (retrying), attempt + 1
    ├─► exception, none left       finished (failed)
    ├─► Retry / Snooze / Discard   as raised
    ├─► payload does not fit       finished (failed), at once
    ├─► ended after it was cancelled  finished (cancelled), unless it succeeded or was discarded
    └─► worker died while running  ready, crash + 1; finished (failed) at max_crashes
"""

from __future__ import annotations

import logging
import signal
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf, isnan
from typing import Any, TypedDict

from fastq.backoff import RETRIES, Backoff, Exponential
from fastq.settlement import NO_PAYLOAD, LeasedJob, Settlement
from fastq.states import Goes, JobState

log = logging.getLogger("fastq.worker")


class _Place(TypedDict):
    lease: int
    ord: int


MOST_ERRORS = 10
MOST_TRACEBACK = 4000
MOST_MESSAGE = 1000
MAX_CRASHES = 3
MOST_DELAY_S = 100 * 365.25 * 86400.0
_LASTING = ("unique", "headers", "ordered")


class Flow(Exception):
    """Raised by a handler to say what should become of its job."""


def _seconds(delay: float | timedelta) -> float:
    """Return a delay as seconds that the database can add to its time; what is not a number means at once."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    return 0.0 if isnan(seconds) else min(max(0.0, seconds), MOST_DELAY_S)


class Retry(Flow):
    """Try again, in `delay` seconds or after the task's own backoff. Counts as a failed attempt."""

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.delay_s = None if delay is None else _seconds(delay)


class Snooze(Flow):
    """Run again in `delay` seconds. Not an attempt."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay_s = _seconds(delay)


class Discard(Flow):
    """End the job without success and without a retry; it is kept with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a task's failed jobs run again, at most `retries` + 1 runs, and how long ended ones are kept.

    `keep_s`: seconds for those that succeeded, None to delete them at once. Infinity is for ever.
    `keep_payload`: whether they are kept with their arguments.
    """

    retries: int = RETRIES
    backoff: Backoff = field(default_factory=Exponential)
    keep_s: float | None = None
    keep_failed_s: float = inf
    keep_payload: bool = True

    @property
    def payload(self) -> str | None:
        """What a settlement says of the payload of a job that is kept."""
        return None if self.keep_payload else NO_PAYLOAD


_BY_DEFAULT = RetryPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed run: the exception and whether trying again could help."""

    error: BaseException
    final: bool = False


def _clip(text: str, most: int) -> str:
    """Cut a text and drop what PostgreSQL's json cannot hold."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= most else "…" + text[-most:]


def error_record(error: BaseException, attempt: int) -> dict[str, Any]:
    """Return what is kept of an exception."""
    try:
        message = str(error)
        lines = traceback.format_exception(error) if error.__traceback__ else []
    except Exception as broken:  # noqa: BLE001 - an exception that cannot be told is still a failed run
        message, lines = f"its own text cannot be made: {type(broken).__qualname__}", []
    return {
        "type": type(error).__qualname__,
        "message": _clip(message, MOST_MESSAGE),
        "traceback": _clip("".join(lines), MOST_TRACEBACK),
        "attempt": attempt,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _with_error(meta: dict[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
    """Return `meta` with one error more. A run that ended by itself clears the suspicion of killing workers."""
    meta = {key: value for key, value in (meta or {}).items() if key != "crashes"}
    meta["errors"] = [*meta.get("errors", []), record][-MOST_ERRORS:]
    return meta


def _backoff_s(task: str, backoff: Backoff, attempt: int) -> float:
    """Return what the task's own backoff says; the default's if it fails."""
    try:
        return _seconds(backoff(attempt))
    except Exception:
        log.exception("the backoff of %s failed; the default is taken", task, extra={"per": task})
        return Exponential()(attempt)


def after_failure(job: LeasedJob, failure: Failure, policy: RetryPolicy) -> Settlement:
    """Decide where a job goes whose run raised."""
    error, attempt = failure.error, job.attempt + 1
    place: _Place = {"lease": job.lease, "ord": job.ord}
    match error:
        case Snooze():
            return Settlement(
                **place,
                goes=Goes.SCHEDULED,
                state=JobState.SCHEDULED,
                delay_s=error.delay_s,
                attempt=job.attempt,
                meta=job.meta,
            )
        case Discard():
            meta = _with_error(job.meta, error_record(error, attempt))
            keep_s = _expiry_s(policy.keep_failed_s)
            return Settlement(
                **place,
                goes=Goes.FINISHED,
                state=JobState.DISCARDED,
                attempt=attempt,
                meta=meta,
                keep_s=keep_s,
                payload=policy.payload,
            )
    meta = _with_error(job.meta, error_record(error, attempt))
    if failure.final or attempt > policy.retries:
        return Settlement(
            **place,
            goes=Goes.FINISHED,
            state=JobState.FAILED,
            attempt=attempt,
            meta=meta,
            keep_s=_expiry_s(policy.keep_failed_s),
            payload=policy.payload,
        )
    delay_s = error.delay_s if isinstance(error, Retry) else None
    if delay_s is None:
        delay_s = _backoff_s(job.task, policy.backoff, attempt)
    return Settlement(
        **place, goes=Goes.SCHEDULED, state=JobState.RETRYING, delay_s=delay_s, attempt=attempt, meta=meta
    )


def cancelled(job: LeasedJob, error: BaseException | None = None, policy: RetryPolicy = _BY_DEFAULT) -> Settlement:
    """End a job that somebody cancelled: it did not start, or its run raised `error` after it was asked to stop."""
    ran = error is not None
    meta = job.meta
    if isinstance(error, Exception) and not isinstance(error, Flow):  # asyncio.CancelledError is none
        meta = _with_error(meta, error_record(error, job.attempt + 1))
    return Settlement(
        lease=job.lease,
        ord=job.ord,
        goes=Goes.FINISHED,
        state=JobState.CANCELLED,
        attempt=job.attempt + ran,
        meta=meta,
        keep_s=_expiry_s(policy.keep_failed_s),
        payload=policy.payload,
    )


def _expiry_s(keep_s: float) -> float | None:
    return None if keep_s == inf else keep_s


def succeeded(job: LeasedJob, result: str | None, policy: RetryPolicy) -> Settlement:
    """Keep a job that succeeded, with what its handler returned as JSON; success clears its errors."""
    return Settlement(
        lease=job.lease,
        ord=job.ord,
        goes=Goes.FINISHED,
        state=JobState.SUCCEEDED,
        attempt=job.attempt + 1,
        meta=_lasting(job.meta),
        keep_s=_expiry_s(policy.keep_s or 0.0),
        payload=policy.payload,
        result=result,
    )


def _lasting(meta: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what of a job's meta outlasts a success: what it was enqueued with."""
    return {key: value for key, value in (meta or {}).items() if key in _LASTING and value} or None


def done(job: LeasedJob) -> Settlement:
    """Let a job that succeeded go, and with it what it held."""
    return Settlement(lease=job.lease, ord=job.ord, goes=Goes.DONE, attempt=job.attempt + 1, meta=job.meta)


def next_step(job: LeasedJob, task: str, payload: str, delay_s: float | None) -> Settlement:
    """Let a job go on as another task; its attempts start anew, its errors and checkpoint are behind it."""
    return Settlement(
        lease=job.lease,
        ord=job.ord,
        goes=Goes.SCHEDULED if delay_s else Goes.READY,
        state=JobState.SCHEDULED if delay_s else "",
        delay_s=delay_s or 0.0,
        meta=_lasting(job.meta),
        task=task,
        payload=payload,
    )


def returned(job: LeasedJob) -> Settlement:
    """Put a job back into line as it was: it was not started, or its run does not count."""
    return Settlement(lease=job.lease, ord=job.ord, goes=Goes.READY, attempt=job.attempt, meta=job.meta)


def death_of(wait_status: int) -> str:
    """Return how a process ended, from its wait status: "SIGKILL", "exit code 1"."""
    code = wait_status & 0x7F
    if not code:
        return f"exit code {wait_status >> 8}"
    try:
        return signal.Signals(code).name
    except ValueError:
        return f"signal {code}"


def after_death(
    job: LeasedJob, *, running: bool, cause: str, counts: bool = False, max_crashes: int = MAX_CRASHES
) -> Settlement:
    """Decide where a job goes whose worker died; only one that was `running` is charged a crash.

    `counts`: it is known that it ran, so the run was an attempt too; the worker that takes it next knows how many there
    may be.
    """
    if job.cancelled:
        return cancelled(job)
    if not running:
        return returned(job)
    crashes = int((job.meta or {}).get("crashes", 0)) + 1
    attempt = job.attempt + 1 if counts else job.attempt
    record = {
        "type": "WorkerDied",
        "message": f"the worker process ended by {cause} while it ran this job",
        "traceback": "",
        "attempt": job.attempt + 1,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    meta = _with_error(job.meta, record) | {"crashes": crashes}
    place: _Place = {"lease": job.lease, "ord": job.ord}
    if crashes >= max_crashes:
        return Settlement(**place, goes=Goes.FINISHED, state=JobState.FAILED, attempt=attempt, meta=meta)
    return Settlement(**place, goes=Goes.READY, attempt=attempt, meta=meta)


def exhausted(job: LeasedJob, policy: RetryPolicy) -> Settlement | None:
    """Return where a job goes that may not run once more, because its worker died in its last attempt; else None."""
    if job.attempt <= policy.retries:
        return None
    return Settlement(
        lease=job.lease,
        ord=job.ord,
        goes=Goes.FINISHED,
        state=JobState.FAILED,
        attempt=job.attempt,
        meta=job.meta,
        keep_s=_expiry_s(policy.keep_failed_s),
        payload=policy.payload,
    )
