"""What a host shows of itself: the board's numbers in Prometheus' text format, and whether the host is well. Pure.

Counters are of a cell (`cell="3"`), and `sum by (instance)` is the host's; those of tasks are the whole host's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fastq.host.board import COUNTERS, Cell, Word
from fastq.host.series import Count, Counted, Key
from fastq.observability.totals import Totals
from fastq.states import CellState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OUTCOMES = (Count.SUCCEEDED, Count.FAILED, Count.RETRIED, Count.RETURNED, Count.LOST)
_HELP = {
    Word.CLAIMED: "Jobs that a worker took.",
    Word.SUCCEEDED: "Jobs that ended well.",
    Word.FAILED: "Jobs that failed for good.",
    Word.RETRIED: "Failed or snoozed runs that will run again.",
    Word.LOST: "Outcomes that were refused, because the lease had been taken from the worker.",
    Word.RETURNED: "Jobs that were given back unstarted.",
    Word.REFUSED: "Ends of jobs that could not be written as they were: kept as failed, or tried again.",
}


def exposition(cells: Sequence[Cell], totals: Totals, *, leading: bool, beat_age_s: float | None) -> str:
    """Return all metrics as Prometheus text 0.0.4. Looks at the cells on the way (`totals.observe`)."""
    totals.observe(cells)
    lines: list[str] = []
    by_cell = totals.by_cell()
    for word in COUNTERS:
        samples = [(f'{{cell="{index}"}}', counts[word]) for index, counts in by_cell.items()]
        lines += _family(f"fastq_jobs_{word.name.lower()}_total", "counter", _HELP[word], samples)
    lines += _of_tasks(totals.series())
    running = [(f'{{cell="{cell.index}"}}', _running(cell)) for cell in cells if cell.index in by_cell]
    lines += _family("fastq_jobs_running", "gauge", "Jobs whose handler runs now.", running)
    states = [cell.state for cell in cells]
    workers = [(f'{{state="{state.name.lower()}"}}', states.count(state)) for state in CellState if state]
    lines += _family("fastq_workers", "gauge", "Worker processes by state.", workers)
    stopped = sum(1 for cell in cells if cell.state.alive and cell[Word.STOPPED])
    lines += _family("fastq_workers_stopped", "gauge", "Worker processes that a signal stopped.", [("", stopped)])
    lines += _family("fastq_leader", "gauge", "1 on the host that does the fleet's housekeeping.", [("", int(leading))])
    if beat_age_s is not None:
        help_text = "Seconds since the database last took this host's heartbeat."
        lines += _family("fastq_heartbeat_age_seconds", "gauge", help_text, [("", round(beat_age_s, 3))])
    lines += _family("fastq_up", "gauge", "1 while the steward answers.", [("", 1)])
    return "\n".join([*lines, ""])


def _of_tasks(series: Mapping[Key, Counted]) -> list[str]:
    """Return what is known of each queue and task: how jobs ended, and histograms of their run and waiting times."""
    labels = {key: f'queue="{_escaped(key[0])}",task="{_escaped(key[1])}"' for key in sorted(series)}
    ends = [
        (f'{{{labels[key]},outcome="{count.name.lower()}"}}', float(series[key][count]))
        for key in labels
        for count in _OUTCOMES
    ]
    lines = _family("fastq_task_jobs_total", "counter", "Jobs of a queue and task by how they ended.", ends)
    ran, waited = [], []
    for key, label in labels.items():
        counted = series[key]
        ran += _histogram(label, counted.ran, counted[Count.RAN_US] / 1e6)
        waited += _histogram(label, counted.waited, counted[Count.WAITED_MS] / 1e3)
    lines += _family("fastq_task_run_seconds", "histogram", "How long handlers ran.", ran)
    help_text = "From enqueue to claim, of jobs without a delay that were not retried."
    return lines + _family("fastq_task_wait_seconds", "histogram", help_text, waited)


def _histogram(label: str, buckets: Sequence[int], total_s: float) -> list[tuple[str, float]]:
    upto = accumulate(buckets)
    bounds = [*(f"{2.0**place / 1000:g}" for place in range(len(buckets) - 1)), "+Inf"]
    found = [(f'_bucket{{{label},le="{bound}"}}', float(jobs)) for bound, jobs in zip(bounds, upto, strict=True)]
    return [*found, (f"_sum{{{label}}}", total_s), (f"_count{{{label}}}", float(sum(buckets)))]


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _running(cell: Cell) -> int:
    """Return how many jobs run in a cell; a dead worker's table tells what it was running."""
    return sum(map(bool, cell.running)) if cell.state.alive else 0


def _family(name: str, kind: str, help_text: str, samples: Sequence[tuple[str, float]]) -> list[str]:
    return [
        f"# HELP {name} {help_text}",
        f"# TYPE {name} {kind}",
        *(f"{name}{labels} {_number(v)}" for labels, v in samples),
    ]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a host is well, and if not, why. `status` is ok, draining or unwell."""

    status: str
    workers: dict[str, int]
    heartbeat_age_s: float | None
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether a probe should be content; a host that drains is."""
        return not self.reasons


def health(cells: Sequence[Cell], *, beat_age_s: float | None, lease_s: float) -> Health:
    """Judge a host: some worker lives, none is stopped or given up by the fleet, the heartbeat is younger than a lease.

    Args:
        cells: the board's cells.
        beat_age_s: seconds since the database last took a heartbeat; None when it never did.
        lease_s: after so long without a heartbeat others take this host's jobs.

    """
    alive = [cell for cell in cells if cell.state.alive]
    reasons = [] if alive else ["no worker is alive"]
    reasons += [f"worker pid {cell[Word.PID]} is stopped by a signal" for cell in alive if cell[Word.STOPPED]]
    reasons += [f"worker pid {cell[Word.PID]} was given up by the fleet" for cell in alive if cell[Word.FENCED]]
    if beat_age_s is None:
        reasons.append("no heartbeat has reached the database yet")
    elif beat_age_s >= lease_s:
        reasons.append(f"the last heartbeat is {beat_age_s:.0f} s old, the lease is {lease_s:.0f} s")
    states = [cell.state for cell in cells]
    draining = bool(alive) and all(cell.state is CellState.DRAINING for cell in alive)
    return Health(
        status="unwell" if reasons else "draining" if draining else "ok",
        workers={state.name.lower(): states.count(state) for state in CellState if state and state in states},
        heartbeat_age_s=None if beat_age_s is None else round(beat_age_s, 3),
        reasons=tuple(reasons),
    )
