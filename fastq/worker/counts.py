"""What this worker counts of each queue and task: claims and ends as its ledger notes them, and how long runs took."""

from __future__ import annotations

from collections import Counter
from time import time

from fastq.host.board import Cell
from fastq.host.series import SHORT_S, Count, SeriesTable, bucket_of
from fastq.protocol.packed import ENQUEUED_MS, TASK
from fastq.worker.batch import Batch


class Counts:
    """The series of one worker. A batch whose jobs are of one task costs as much as one job does."""

    def __init__(self, cell: Cell) -> None:
        self.of = SeriesTable(cell.series).of

    def claimed(self, batch: Batch) -> None:
        """Count the jobs of a batch that was claimed just now, and how long they waited."""
        now_ms = int(time() * 1000)
        self._add(Count.CLAIMED, batch, batch.size)
        if batch.only_task is not None and (span := batch.fresh_ms) is not None:
            longest, shortest = now_ms - span[0], now_ms - span[1]
            if longest == shortest or bucket_of(longest) == bucket_of(shortest):
                self.of(batch.lane.queue, batch.only_task).waited((longest + shortest) // 2, batch.size)
                return
        waits = Counter((row[TASK], now_ms - row[ENQUEUED_MS]) for row in batch.fresh)
        for (task, waited_ms), jobs in waits.items():
            self.of(batch.lane.queue, task).waited(waited_ms, jobs)

    def acked(self, batch: Batch, count: Count) -> None:
        """Count the jobs of a batch that are merely acknowledged, which go well or are lost together."""
        self._add(count, batch, batch.size - len(batch.settled))

    def _add(self, count: Count, batch: Batch, jobs: int) -> None:
        """Count so many jobs of a batch: all of them, or those that are not settled."""
        if batch.only_task is not None:
            self.of(batch.lane.queue, batch.only_task).add(count, jobs)
            return
        settled = batch.settled if jobs < batch.size else ()
        tasks = Counter(batch.task_of(ordinal) for ordinal in range(batch.size) if ordinal not in settled)
        for task, of_it in tasks.items():
            self.of(batch.lane.queue, task).add(count, of_it)

    def ran(self, queue: str, task: str | None, seconds: float, jobs: int = 1) -> None:
        """Count runs that took so long each."""
        self.spent(queue, task, seconds * jobs)
        if seconds > SHORT_S:
            self.of(queue, task).ran(seconds, jobs)

    def spent(self, queue: str, task: str | None, seconds: float) -> None:
        """Add up the time of runs that were too short to be counted one by one."""
        if seconds:
            self.of(queue, task).spent(seconds)
