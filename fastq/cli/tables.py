"""The tables of queues and workers, as `status`, `queues list` and `workers list` show them, and figures in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastq.terminal.table import Column, Table

if TYPE_CHECKING:
    from fastq.insights.survey import Count, QueueSurvey, WorkerSurvey

_DURATIONS = ((1, 0.001, "{:.0f} ms"), (120, 1, "{:.0f} s"), (7200, 60, "{:.0f} min"), (172800, 3600, "{:.1f} h"))
_COUNTERS = ("running", "claimed", "succeeded", "failed", "retried", "returned", "lost")
_PAUSED, _EXPIRED = " (paused)", "expired"
_RARE = ("waiting", "kept")


def _red_if_some(cell: str) -> str:
    return "" if cell in ("-", "0", "?") else "red"


_QUEUE = Column(name="QUEUE", text=True, style=lambda cell: "yellow" if cell.endswith(_PAUSED) else "")
_STATES = {
    "ready": Column(name="READY"),
    "running": Column(name="RUNNING"),
    "scheduled": Column(name="SCHEDULED", rank=3),
    "retrying": Column(name="RETRYING", rank=2),
    "waiting": Column(name="WAITING", rank=4),
    "failed": Column(name="FAILED", style=_red_if_some),
    "kept": Column(name="KEPT", rank=5),
}
_OLDEST = Column(name="OLDEST READY", rank=1)
_WORKER = (
    Column(name="HOST", text=True),
    Column(name="PID", rank=3),
    Column(name="NAME", text=True, rank=2),
    Column(name="SINCE", rank=4),
    Column(name="LEASE LEFT", style=lambda cell: "red" if cell == _EXPIRED else ""),
    Column(name="RUNNING"),
    Column(name="CLAIMED", rank=8),
    Column(name="SUCCEEDED", rank=1),
    Column(name="FAILED", rank=1, style=_red_if_some),
    Column(name="RETRIED", rank=5),
    Column(name="RETURNED", rank=7),
    Column(name="LOST", rank=6),
)


def counts(queue: QueueSurvey) -> dict[str, Count]:
    """Return a queue's counts by what they are of."""
    return {state: getattr(queue, state) for state in _STATES}


def queue_table(queues: Sequence[QueueSurvey]) -> Table:
    """Return the queues; jobs of ordered groups, and kept ones, have their column where there are some."""
    some = {state for queue in queues for state, count in counts(queue).items() if count.jobs}
    states = [state for state in _STATES if state in some or state not in _RARE]
    columns = (_QUEUE, *(_STATES[state] for state in states), _OLDEST)
    return Table(columns, [_queue_row(queue, states) for queue in queues])


def _queue_row(queue: QueueSurvey, states: list[str]) -> list[str]:
    name = queue.name + (_PAUSED if queue.paused else "")
    found = counts(queue)
    return [name, *(_number(found[state]) for state in states), duration(queue.oldest_s)]


def _number(count: Count) -> str:
    if not count.jobs:
        return "-"
    return f"{count.jobs:,}" if count.exact else f"~{float(f'{count.jobs:.2g}'):,.0f}"


def worker_table(workers: Sequence[WorkerSurvey]) -> Table:
    """Return the worker processes: where they are, since when, what remains of their leases, what they have done."""
    return Table(_WORKER, [_worker_row(worker) for worker in workers])


def _worker_row(worker: WorkerSurvey) -> list[str]:
    told = worker.counters or {}
    found = (told.get(name) for name in _COUNTERS)
    numbers = [f"{count:,}" if isinstance(count, int) else "?" for count in found]
    left = _EXPIRED if worker.left_s <= 0 else duration(worker.left_s)
    return [worker.host, str(worker.pid), worker.name or "-", duration(worker.age_s), left, *numbers]


def duration(seconds: float | None) -> str:
    """Return `850 ms`, `12 s`, `5 min`, `3.2 h`, `4.0 d`."""
    if seconds is None:
        return "-"
    for most, unit_s, form in _DURATIONS:
        if seconds < most:
            return form.format(max(0.0, seconds) / unit_s)
    return f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """Return bytes as `8.0 kB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
