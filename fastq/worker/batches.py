"""Calls of batch handlers: one for many jobs of a lease, and what becomes of each of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from fastq.batch_item import BatchItem
from fastq.context import Context
from fastq.host.board import NO_DEADLINE, Cell, split_key
from fastq.job import Next, at_ms
from fastq.observability.runs import kept
from fastq.protocol.packed import ATTEMPT, ENQUEUED_MS, PAYLOAD, TASK, Row
from fastq.states import JobState
from fastq.worker.attempts import Attempts
from fastq.worker.batch import Batch, id_of, meta_of
from fastq.worker.ledger import Ledger
from fastq.worker.runner import PayloadMisfit, Runner
from fastq.worker.threads import Threads

log = logging.getLogger("fastq.worker")

Pair = tuple[int, Row]


@dataclass(frozen=True, slots=True)
class Call:
    """Jobs of one task that stand side by side in a lease, to be given to its handler together."""

    batch: Batch
    pairs: list[Pair]


def calls_of(batch: Batch, sizes: Mapping[str, int]) -> list[Call]:
    """Take all jobs of batch handlers out of a batch, in calls of at most the size of each task. Pure.

    A call holds neighbours only: then one word on the board tells of all of them.
    """
    ordinals = batch.ordinals_of(sizes.keys())
    calls: list[Call] = []
    for key, row in batch.skim(ordinals) if ordinals else ():
        last = calls[-1].pairs[-1] if calls else None
        full = not last or len(calls[-1].pairs) == sizes[row[TASK]]
        if full or last is None or last[0] + 1 != key or last[1][TASK] != row[TASK]:
            calls.append(Call(batch, []))
        calls[-1].pairs.append((key, row))
    return calls


class Caller:
    """Runs calls. `running` are the jobs that a call has now, by key."""

    def __init__(self, attempts: Attempts, *, threads: Threads, cell: Cell, ledger: Ledger) -> None:
        self._attempts = attempts
        self._threads = threads
        self._cell = cell
        self._ledger = ledger
        self.running: dict[int, BatchItem] = {}

    async def run(self, runner: Runner, number: int, call: Call) -> None:
        """Call the handler; settle each job by what the handler says of it, else by how the call ended."""
        items = self._items(call)
        if items:
            pairs = [pair for pair in call.pairs if pair[0] in items]
            self.running.update(items)
            try:
                ctx = self._attempts.context(runner, pairs[0][0], call.batch, pairs[0][1])
                error = await self._call(runner, number, call.batch, pairs, list(items.values()), ctx)
            finally:
                for key in items:
                    del self.running[key]
            self._settle(call.batch, pairs, items, error, ctx.began)
        call.batch.apart += [split_key(key)[1] for key, _ in call.pairs]

    def _items(self, call: Call) -> dict[int, BatchItem]:
        """Return what the handler gets; jobs that were cancelled, or have no arguments, end without it."""
        items = {}
        for key, row in call.pairs:
            if row[TASK] is None:
                self._attempts.raised(call.batch, key, row, KeyError(), None)
            elif not isinstance(row[PAYLOAD], dict):
                error = PayloadMisfit(f"Expected `object`, got `{type(row[PAYLOAD]).__name__}`")
                self._attempts.raised(call.batch, key, row, error, None)
            else:
                items[key] = _item(call.batch, row)
        return items

    async def _call(
        self, runner: Runner, number: int, batch: Batch, pairs: list[Pair], items: list[BatchItem], ctx: Context
    ) -> BaseException | None:
        """Return what the handler raised. While it runs, the board names all its jobs."""
        cell, first = self._cell, pairs[0][0]

        def starts() -> None:
            cell.running[number] = first
            ctx.began = perf_counter()
            if runner.hard_s is not None:
                cell.deadlines[number] = int((monotonic() + runner.hard_s) * 1000)

        async def in_thread(work: Callable[[], Any]) -> Any:
            cell.running[number] = -first
            return await self._threads.run(kept(work), starts)

        cell.spans[number] = pairs[-1][0] - first
        try:
            for key, row in pairs if batch.holds else ():
                await self._attempts.free_started(batch, key, row)
            if runner.is_async:
                starts()
            result = await _run(runner, items, ctx, in_thread)
            if isinstance(result, Next):
                text = "%s handles batches: what it returns is no next step"
                log.error(text, runner.task.name, extra={"per": runner.task.name})
        except BaseException as exc:  # noqa: BLE001 - whatever a handler raises is its jobs' outcome
            return exc
        finally:
            cell.deadlines[number] = NO_DEADLINE
            cell.running[number] = 0
            cell.spans[number] = 0
        return None

    def _settle(
        self,
        batch: Batch,
        pairs: Iterable[Pair],
        items: Mapping[int, BatchItem],
        error: BaseException | None,
        began: float | None,
    ) -> None:
        for key, row in pairs:
            error_of_item = items[key].outcome.error or error
            if error_of_item is not None:
                self._attempts.raised(batch, key, row, error_of_item, began)
            elif self._attempts.returned(batch, key, row, None, began):
                batch.left -= 1
                if not batch.left:
                    self._ledger.finished(batch)


async def _run(runner: Runner, items: list[BatchItem], ctx: Context, in_thread: Callable[..., Awaitable[Any]]) -> Any:
    arguments = runner.arguments({}, ctx)
    arguments[runner.task.arguments.items] = items
    return await runner.run(arguments, ctx, in_thread)


def _item(batch: Batch, row: Row) -> BatchItem:
    meta = meta_of(row) or {}
    return BatchItem(
        id=id_of(row),
        task=row[TASK],
        queue=batch.lane.queue,
        state=JobState.RUNNING,
        attempt=row[ATTEMPT] + 1,
        args=row[PAYLOAD],
        priority=batch.lane.priority,
        enqueued_at=at_ms(row[ENQUEUED_MS]),
        errors=tuple(meta.get("errors", ())),
        headers=meta.get("headers"),
    )
