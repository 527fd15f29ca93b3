"""One claimed lease, decoded: the jobs that wait in it, and how many are not finished."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain
from operator import length_hint
from typing import Any

from fastq.app.tracing import Trace
from fastq.ends.meta import Meta, read
from fastq.ends.settlement import LeasedJob
from fastq.host.board import KEY_ORDINAL_BITS, split_key
from fastq.observability.runs import CurrentRun
from fastq.protocol.claim import Lane
from fastq.protocol.packed import ATTEMPT, ENQUEUED_MS, ID, META, POS, TASK, Row

_HELD = ("unique", "ordered")
_NOT_PLAIN = (*_HELD, "timeout", "expires")


def id_of(row: Row) -> int:
    """Return a job's id, which is its position as long as it has not been put back into line."""
    job_id = row[ID] if len(row) > ID else None
    return int(row[POS] if job_id is None else job_id)


def meta_of(row: Row) -> Meta | None:
    """Return what is rare about a job of a batch; None for most."""
    return row[META] if len(row) > META else None


def _read_metas(rows: list[Row]) -> None:
    """Let the rarer data of all jobs be such as everybody here may take them."""
    for row in rows:
        if len(row) > META and row[META] is not None:
            row[META] = read(row[META])


def _suspects(rows: list[Row]) -> frozenset[int]:
    """Return the ordinals of jobs that were running when a worker died."""
    return frozenset(ordinal for ordinal, row in enumerate(rows) if (meta := meta_of(row)) and meta.get("crashes"))


def _holds(rows: list[Row]) -> bool:
    """Tell whether a job holds something that is given back with its success, or has a time of its own: it cannot be
    merely called and acknowledged.
    """
    return any((meta := meta_of(row)) and not meta.keys().isdisjoint(_NOT_PLAIN) for row in rows)


def row_holds(row: Row) -> bool:
    """Tell whether a job holds a unique key, or the head of a line."""
    meta = meta_of(row)
    return meta is not None and not meta.keys().isdisjoint(_HELD)


class Batch:
    """The jobs of one lease.

    Slots take (key, row) pairs from `remaining`, an iterator that they share; `left` counts down to the moment at
    which the whole lease can be acknowledged.
    """

    __slots__ = (
        "_order",
        "_rows",
        "_untaken",
        "acked",
        "apart",
        "claimed_at",
        "fresh_ms",
        "holds",
        "lane",
        "lease",
        "left",
        "only_task",
        "remaining",
        "settled",
        "size",
        "suspects",
        "traced",
        "traces_left",
    )

    def __init__(self, lane: Lane, lease: int, rows: list[Row], claimed_at: float) -> None:
        self.lane = lane
        self.lease = lease
        self.claimed_at = claimed_at
        self.size = self.left = len(rows)
        self._order: Sequence[int] = range(self.size)
        self._rows = rows
        tasks = {row[TASK] for row in rows}
        self.only_task: str | None = tasks.pop() if len(tasks) == 1 else None
        """The task of all its jobs; None if they are of several."""

        self._untaken: Iterator[Any] = iter(rows)
        self.remaining: Iterator[tuple[int, Row]] = enumerate(self._untaken, lease << KEY_ORDINAL_BITS)
        fields = max(map(len, rows), default=0)
        self.fresh_ms = (rows[0][ENQUEUED_MS], rows[-1][ENQUEUED_MS]) if rows and fields <= ID else None
        """When the first and the last job was enqueued, if all have been in line since then."""

        rich = fields > META
        if rich:
            _read_metas(rows)
        self.suspects = _suspects(rows) if rich else frozenset()
        self.holds = rich and _holds(rows)
        self.traced: Sequence[Trace] = ()
        """Who traces the jobs that have not begun."""

        self.traces_left: int | None = None
        """How many jobs they trace; None: all."""

        self.apart: list[int] = []
        self.settled: set[int] = set()
        self.acked: set[int] = set()

    def trace(self) -> Sequence[Trace]:
        """Return who traces a job that begins now."""
        traced = self.traced
        if traced and self.traces_left is not None:
            self.traces_left -= 1
            if self.traces_left <= 0:
                self.traced = ()
        return traced

    @property
    def headers(self) -> Iterator[Mapping[str, Any]]:
        """The headers of those jobs that have some."""
        metas = (row[META] for row in self._rows if len(row) > META)
        return (found for meta in metas if meta and isinstance(found := meta.get("headers"), dict))

    @property
    def waiting(self) -> int:
        """How many jobs no slot has taken yet."""
        return length_hint(self._untaken)

    @property
    def fresh(self) -> Iterator[Row]:
        """The jobs that have been in line since their enqueue: the others have got ids, to be put back or to wait."""
        return (row for row in self._rows if len(row) <= ID or row[ID] is None)

    def skim(self, ordinals: Container[int]) -> list[tuple[int, Row]]:
        """Take the jobs with these ordinals out of those that wait; only before a slot took any.

        Those that are run all the same are to be noted in `apart`.
        """
        pairs = list(self.remaining)
        base = self.lease << KEY_ORDINAL_BITS
        rest = [pair for pair in pairs if pair[0] - base not in ordinals]
        self._order = [key - base for key, _ in rest]
        self.remaining = self._untaken = iter(rest)
        return [pair for pair in pairs if pair[0] - base in ordinals]

    def leave_out(self, done: Container[int]) -> None:
        """Count jobs as finished that were finished before this batch was made."""
        over = {split_key(key)[1] for key, _ in self.skim(done)}
        self.settled |= over
        self.left -= len(over)

    def take_rest(self) -> list[LeasedJob]:
        """Take all waiting jobs out, to be given back."""
        return [self.job(key, row) for key, row in self.remaining]

    def row(self, ordinal: int) -> Row:
        """Return the job that stands at an ordinal, as its lease packs it."""
        return self._rows[ordinal]

    def head(self, ordinal: int) -> Row:
        """Return the job that stands at an ordinal, perhaps without its payload."""
        return self.row(ordinal)

    def job(self, key: int, row: Row) -> LeasedJob:
        """Return a job as the decisions about it want it."""
        return self._leased(split_key(key)[1], row)

    def job_at(self, ordinal: int) -> LeasedJob:
        """Return the job that stands at an ordinal."""
        return self._leased(ordinal, self.row(ordinal))

    def _leased(self, ordinal: int, row: Row) -> LeasedJob:
        return LeasedJob(
            lease=self.lease,
            ord=ordinal,
            id=id_of(row),
            task=row[TASK],
            attempt=row[ATTEMPT],
            meta=meta_of(row),
        )

    def ordinals_of(self, tasks: Container[str]) -> set[int]:
        """Return the ordinals of all jobs of some tasks."""
        return {ordinal for ordinal, row in enumerate(self._rows) if row[TASK] in tasks}

    def task_of(self, ordinal: int) -> str:
        """Return the name of the task of the job at an ordinal."""
        return self.only_task or str(self._rows[ordinal][TASK])

    def strike(self, ordinal: int) -> None:
        """Let a job that waits never start: no task has the name None, so the slot that takes it settles it."""
        self._rows[ordinal][TASK] = None

    def run_at(self, ordinal: int, *, jobs: int = 1) -> CurrentRun:
        """Return the run of the job at an ordinal, or of a call of so many `jobs` from there on."""
        row = self.head(ordinal)
        return CurrentRun(job_id=id_of(row), task=row[TASK], queue=self.lane.queue, attempt=row[ATTEMPT] + 1, jobs=jobs)

    def newly_done(self, running: set[int]) -> list[int]:
        """Return the ordinals that finished and are not yet in the database; `running` are the keys taken now."""
        base = self.lease << KEY_ORDINAL_BITS
        return [
            ordinal
            for ordinal in chain(self._order[: len(self._order) - self.waiting], self.apart)
            if base + ordinal not in running and ordinal not in self.settled and ordinal not in self.acked
        ]
