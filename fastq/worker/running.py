"""What runs in which slot: for people who ask, and for those who cancel."""

from __future__ import annotations

import asyncio
from typing import Any

from fastq import batch_item
from fastq.host.board import Cell, split_key
from fastq.observability.runs import CurrentRun
from fastq.worker.attempts import Attempts
from fastq.worker.batches import Caller
from fastq.worker.ledger import Ledger


class Running:
    """The slots of an executor, by the numbers that they have on the board."""

    def __init__(self, cell: Cell, *, ledger: Ledger, attempts: Attempts, caller: Caller) -> None:
        self._cell = cell
        self._ledger = ledger
        self._attempts = attempts
        self._caller = caller
        self.slots: set[asyncio.Task[None]] = set()

    def of(self, number: int) -> CurrentRun | None:
        """Return what slot `number` is running; None if nothing. Any thread may ask."""
        lease, ordinal = split_key(abs(self._cell.running[number]))
        batch = self._ledger.open.get(lease)
        return None if batch is None else batch.run_at(ordinal, jobs=1 + self._cell.spans[number])

    def describe(self, slot: asyncio.Task[Any]) -> str | None:
        """Return what a slot is running, for people; None if nothing, or if it is no slot. Any thread may ask."""
        run = self.of(int(slot.get_name().rpartition("-")[2])) if slot in self.slots else None
        return None if run is None else f"job {run.job_id} of {run.task}"

    def cancel(self, key: int) -> None:
        """End the run of a job that somebody cancelled, or see to it that it never starts; nothing if it is through."""
        lease, ordinal = split_key(key)
        batch = self._ledger.open.get(lease)
        if batch is None:
            return
        if (item := self._caller.item(key)) is not None:
            if self._attempts.cancel(batch, key, None):
                batch_item.cancel(item)
            return
        number = next((place for place, running in enumerate(self._cell.running) if abs(running) == key), None)
        if not self._attempts.cancel(batch, key, number):
            return
        if number is None:
            batch.strike(ordinal)
            return
        for slot in self.slots:
            if slot.get_name() == f"fastq-slot-{number}":
                slot.cancel()
