"""What the log says of a job that did not simply succeed: one line, from what will be written of it."""

from __future__ import annotations

import logging
from contextlib import suppress

from fastq.ends.settlement import LeasedJob, Settlement
from fastq.flow import Flow
from fastq.states import Goes, JobState

_MESSAGE = "job %s of %s %s"


def cry(
    log: logging.Logger,
    job: LeasedJob,
    settlement: Settlement,
    *,
    error: BaseException | None = None,
    queue: str | None = None,
) -> None:
    """Log a final failure as ERROR, one before another run as WARNING, a discarded job as INFO, other ends as DEBUG.

    `error` is what the run raised, if it ran in this process: its traceback is shown. A job that goes back into line
    does so because its worker died while it ran: those that were merely returned are not reported.
    """
    level, ending = _said(settlement)
    if not ending or not log.isEnabledFor(level):
        return
    told = error is not None and level >= logging.WARNING and not isinstance(error, Flow)
    fields = {"per": job.task, "job_id": job.id, "task": job.task, "attempt": settlement.attempt}
    if queue is not None:
        fields["queue"] = queue
    with suppress(Exception):  # a log handler that raises is no reason to keep a job
        log.log(level, _MESSAGE, job.id, job.task, ending, exc_info=error if told else None, extra=fields)


def _said(settlement: Settlement) -> tuple[int, str]:
    """Return the level and the words for where a job goes; no words where there is nothing to say."""
    if settlement.task is not None:
        return logging.DEBUG, f"goes on as {settlement.task}"
    match settlement.goes, settlement.state:
        case Goes.FINISHED, JobState.FAILED:
            plural = "" if settlement.attempt == 1 else "s"
            return logging.ERROR, f"failed for good after {settlement.attempt} attempt{plural}: {_reason(settlement)}"
        case Goes.SCHEDULED, JobState.RETRYING:
            return logging.WARNING, f"failed, and runs again in {_period(settlement.delay_s)}: {_reason(settlement)}"
        case Goes.FINISHED, JobState.EXPIRED:
            return logging.INFO, "was not begun in the time it had, and has expired"
        case Goes.FINISHED, JobState.DISCARDED:
            return logging.INFO, f"was discarded: {_reason(settlement)}"
        case Goes.FINISHED, JobState.CANCELLED:
            return logging.DEBUG, "was cancelled"
        case Goes.SCHEDULED, JobState.SCHEDULED:
            return logging.DEBUG, f"runs again in {_period(settlement.delay_s)}"
        case Goes.READY, _:
            return logging.WARNING, f"goes back into line: {_reason(settlement)}"
        case Goes.FINISHED, JobState.SUCCEEDED:
            return logging.DEBUG, "succeeded"
    return logging.DEBUG, ""


def _reason(settlement: Settlement) -> str:
    """Return the newest error. The row may say anything, an exception's own text may be as broken as the job."""
    match settlement.meta:
        case {"errors": [*_, {"type": str(kind), "message": str(message)}]}:
            return f"{kind}: {message}" if message else kind
    return "no reason was kept"


def _period(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
