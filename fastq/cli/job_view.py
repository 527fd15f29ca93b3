"""How jobs are shown: a row each in a list, or one with all that is known of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastq.terminal.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastq.protocol.jobs import JobInfo

_MESSAGE_MOST = 60
_STYLES = {
    "failed": "red",
    "discarded": "red",
    "retrying": "yellow",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "expired": "yellow",
    "running": "green",
    "succeeded": "green",
}


def _without_year(cell: str) -> str:
    return cell.removeprefix(f"{datetime.now().astimezone():%Y-}")


def _without_module(cell: str) -> str:
    module, _, name = cell.rpartition(".")
    return f"…{name}" if module and name else cell


_COLUMNS = (
    Column(name="ID"),
    Column(name="STATE", style=lambda cell: _STYLES.get(cell, ""), text=True),
    Column(name="QUEUE", text=True, rank=1),
    Column(name="TASK", text=True, short=_without_module),
    Column(name="ATTEMPT", rank=2),
    Column(name="SINCE OR AT", short=_without_year),
    Column(name="LAST ERROR", text=True),
)


def as_dict(job: JobInfo) -> dict[str, Any]:
    """Return a job for machines."""
    from msgspec.structs import asdict

    return asdict(job)


def job_table(found: Sequence[JobInfo]) -> Table:
    """Return jobs, one in a row."""
    return Table(_COLUMNS, [_row(job) for job in found])


def _row(job: JobInfo) -> list[str]:
    when = job.finished_at or job.claimed_at or job.run_at or job.enqueued_at
    state = "cancelling" if job.cancelling else job.state
    return [str(job.id), state, job.queue, job.task, str(job.attempt), moment(when), _last_error(job)]


def _last_error(job: JobInfo) -> str:
    if not job.errors:
        return ""
    message = " ".join(f"{job.errors[-1].get('type')}: {job.errors[-1].get('message')}".split())
    return message if len(message) <= _MESSAGE_MOST else message[: _MESSAGE_MOST - 1] + "…"


def moment(when: datetime | None) -> str:
    """Return a time in this machine's zone as `2026-05-01 09:00:00`."""
    if when is None:
        return "-"
    try:
        when = when.astimezone()
    except OverflowError:  # the year 1 or 9999, at the other side of the world
        return f"{when}"
    return f"{when:%Y-%m-%d %H:%M:%S}"


def describe(job: JobInfo) -> str:
    """Return all that is known of a job, for people; the traceback of its last error."""
    from fastq import codec

    state = f"{job.state}, to be cancelled" if job.cancelling else job.state
    place = f"{job.queue}, priority {job.priority}" + (f", group {job.group_key}" if job.group_key else "")
    rows = [("task", job.task), ("queue", place), ("attempts", str(job.attempt))]
    rows += [("crashes", str(job.crashes))] if job.crashes else []
    rows += [("progress", f"{job.progress:.0%} {job.note or ''}".rstrip())] if job.progress is not None else []
    rows += [("args", codec.dumps(job.args).decode())]
    rows += [("headers", codec.dumps(job.headers).decode())] if job.headers else []
    rows += [("unique", f"{job.unique_key}, until {_until(job)}")] if job.unique_key is not None else []
    rows += [("saved", codec.dumps(job.checkpoint).decode())] if job.checkpoint is not None else []
    rows += [("result", codec.dumps(job.result).decode())] if job.result is not None else []
    rows += [("worker", str(job.worker))] if job.worker is not None else []
    times = [("enqueued", job.enqueued_at), ("runs at", job.run_at), ("claimed", job.claimed_at)]
    times += [("started", job.started_at), ("ended", job.finished_at), ("kept till", job.expires_at)]
    rows += [(name, moment(when)) for name, when in times if when is not None]
    rows += [("took", f"{job.duration_s:.3f} s")] if job.duration_s is not None else []
    rows += [("error", _error_line(error)) for error in job.errors]
    lines = [f"job {job.id}  {state}", *(f"  {name:<9} {_inside(value)}" for name, value in rows)]
    if job.errors and (traceback := job.errors[-1].get("traceback")):
        lines += ["", str(traceback).rstrip()]
    return "\n".join(lines)


def _inside(value: str) -> str:
    """Return a value whose further lines stand below its first: none can pass for a line of ours."""
    return value.replace("\n", "\n" + " " * 12)


def _until(job: JobInfo) -> str:
    until = job.unique_until
    return f"{until:g} s after the enqueue" if isinstance(until, (int, float)) else str(until)


def _error_line(error: dict[str, Any]) -> str:
    at = str(error.get("at", ""))[:19].replace("T", " ")
    return f"attempt {error.get('attempt')}, {at} UTC: {error.get('type')}: {error.get('message')}"
