"""What a host shows of itself: the board's numbers in Prometheus' text format, and whether the host is well. Pure.

Cells are cleared and used again, Prometheus' counters must never go back: `Totals` keeps for each cell what its earlier
workers had counted, so every series is of a cell (`cell="3"`), and `sum by (instance)` is the host's. Call `observe`
before each scrape, with each heartbeat, and before a dead cell is cleared; what a worker counts after the last look and
before its cell is cleared is missing from the totals, never counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fastq.board import COUNTERS, Cell, Word
from fastq.states import CellState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    Word.CLAIMED: "Jobs that a worker took.",
    Word.SUCCEEDED: "Jobs that ended well.",
    Word.FAILED: "Jobs that failed for good.",
    Word.RETRIED: "Failed or snoozed runs that will run again.",
    Word.LOST: "Outcomes that were refused, because the lease had been taken from the worker.",
    Word.RETURNED: "Jobs that were given back unstarted.",
}


@dataclass(slots=True)
class _Seen:
    """The totals of one cell: of the workers it had before, and of the one it has."""

    pid: int = 0
    before: list[int] = field(default_factory=lambda: [0] * len(COUNTERS))
    now: list[int] = field(default_factory=lambda: [0] * len(COUNTERS))

    def observe(self, pid: int, counts: list[int]) -> None:
        """Take a new reading: of the same worker, or of another one, which starts from nothing.

        A cell that is being cleared may be read half-way: pid 0, or some counts gone. Then the earlier reading is kept
        as the past and what is left of the cell is not a worker's count.
        """
        if pid != self.pid:
            self.before, self.now = self.totals(), [0] * len(counts)
            self.pid = pid
        if pid:
            self.now = [max(new, old) for new, old in zip(counts, self.now, strict=True)]

    def totals(self) -> list[int]:
        return [old + new for old, new in zip(self.before, self.now, strict=True)]


class Totals:
    """Counters that only grow, of cells that are cleared and used again."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def observe(self, cells: Iterable[Cell]) -> None:
        """Take a reading of all cells that are, or ever were, in use."""
        for cell in cells:
            if cell.index not in self._seen and not cell[Word.PID]:
                continue
            seen = self._seen.setdefault(cell.index, _Seen())
            pid, counts = cell[Word.PID], [cell[word] for word in COUNTERS]
            seen.observe(pid if pid == cell[Word.PID] else 0, counts)  # cleared while it was read: not this worker's

    def by_cell(self) -> dict[int, dict[Word, int]]:
        """Return the totals of every cell that was ever in use."""
        return {index: dict(zip(COUNTERS, seen.totals(), strict=True)) for index, seen in sorted(self._seen.items())}


def exposition(cells: Sequence[Cell], totals: Totals, *, leading: bool, beat_age_s: float | None) -> str:
    """Return all metrics as Prometheus text 0.0.4. Looks at the cells on the way (`totals.observe`)."""
    totals.observe(cells)
    lines: list[str] = []
    by_cell = totals.by_cell()
    for word in COUNTERS:
        samples = [(f'{{cell="{index}"}}', counts[word]) for index, counts in by_cell.items()]
        lines += _family(f"fastq_jobs_{word.name.lower()}_total", "counter", _HELP[word], samples)
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


def _running(cell: Cell) -> int:
    """Return how many jobs run in a cell; a dead worker's table tells what it was running."""
    return sum(map(bool, cell.running)) if cell.state.alive else 0


def _family(name: str, kind: str, help_text: str, samples: Sequence[tuple[str, float]]) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *(f"{name}{labels} {v}" for labels, v in samples)]


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
