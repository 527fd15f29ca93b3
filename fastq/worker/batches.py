"""Calls of batch handlers: one for many jobs of a lease, and what becomes of each of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from fastq.batch_item import BatchItem, end_of
from fastq.context import Context
from fastq.host.board import NO_DEADLINE, Cell, split_key
from fastq.job import Next, at_ms
from fastq.observability.runs import kept
from fastq.protocol.packed import ATTEMPT, ENQUEUED_MS, PAYLOAD, TASK, Row
from fastq.states import JobState
from fastq.worker.attempts import Attempts
from fastq.worker.batch import Batch, id_of, meta_of
from fastq.worker.ledger import Ledger
from fastq.worker.packet import STRUCK, PacketBatch
from fastq.worker.runner import PayloadMisfit, Runner
from fastq.worker.threads import Threads

log = logging.getLogger("fastq.worker")


@dataclass(frozen=True, slots=True)
class Call:
    """Jobs of one task that stand side by side in a lease, to be given to its handler together."""

    batch: Batch
    task: str
    keys: Sequence[int]

    @property
    def ordinals(self) -> range:
        """The places of its jobs in their lease."""
        first = split_key(self.keys[0])[1]
        return range(first, first + len(self.keys))


def calls_of(batch: Batch, sizes: Mapping[str, int]) -> list[Call]:
    """Take all jobs of batch handlers out of a batch, in calls of at most the size of each task. Pure.

    A call holds neighbours only: then one word on the board tells of all of them.
    """
    if not isinstance(batch, PacketBatch):
        ordinals = batch.ordinals_of(sizes.keys())
        taken = [(key, row[TASK]) for key, row in batch.skim(ordinals)] if ordinals else ()
    elif (size := sizes.get(batch.task)) is None:
        return []
    elif isinstance(keys := batch.take_all(), range):
        return [Call(batch, batch.task, keys[at : at + size]) for at in range(0, len(keys), size)]
    else:
        taken = [(key, batch.task) for key in keys]
    found: list[tuple[str, list[int]]] = []
    for key, task in taken:
        if not found or found[-1][0] != task or found[-1][1][-1] + 1 != key or len(found[-1][1]) == sizes[task]:
            found.append((task, []))
        found[-1][1].append(key)
    return [Call(batch, task, keys) for task, keys in found]


class Caller:
    """Runs calls."""

    def __init__(self, attempts: Attempts, *, threads: Threads, cell: Cell, ledger: Ledger) -> None:
        self._attempts = attempts
        self._threads = threads
        self._cell = cell
        self._ledger = ledger
        self._running: dict[int, dict[int, BatchItem]] = {}

    def item(self, key: int) -> BatchItem | None:
        """Return what a handler that runs has of a job."""
        return next((items[key] for items in self._running.values() if key in items), None)

    async def run(self, runner: Runner, number: int, call: Call) -> None:
        """Call the handler; settle each job by what the handler says of it, else by how the call ended."""
        items = self._items(call)
        if items:
            batch, first = call.batch, next(iter(items))
            self._running[first] = items
            began = perf_counter()
            try:
                ctx = self._attempts.context(runner, first, batch, batch.head(split_key(first)[1]))
                error = await self._call(runner, number, batch, items, ctx)
            finally:
                del self._running[first]
            self._ledger.counts.ran(batch.lane.queue, call.task, perf_counter() - (ctx.began or began), len(items))
            self._settle(batch, runner, items, error, ctx.began)
        call.batch.apart += call.ordinals

    def _items(self, call: Call) -> dict[int, BatchItem]:
        """Return what the handler gets; jobs that were cancelled, or have no arguments, end without it."""
        items, batch = {}, call.batch
        if isinstance(batch, PacketBatch):
            items = _items_of(batch, call)
        for key in call.keys if len(items) < len(call.keys) else ():
            row = batch.row(split_key(key)[1])
            if row[TASK] is None:
                self._attempts.raised(batch, key, row, KeyError(), None)
            elif not isinstance(row[PAYLOAD], dict):
                error = PayloadMisfit(f"Expected `object`, got `{type(row[PAYLOAD]).__name__}`")
                self._attempts.raised(batch, key, row, error, None)
            elif key not in items and not self._attempts.expired(batch, key, row):
                items[key] = _item(batch, row)
        return items

    async def _call(
        self, runner: Runner, number: int, batch: Batch, items: Mapping[int, BatchItem], ctx: Context
    ) -> BaseException | None:
        """Return what the handler raised. While it runs, the board names all its jobs."""
        cell, keys = self._cell, list(items)
        first = keys[0]

        def starts() -> None:
            cell.running[number] = first
            ctx.began = perf_counter()
            if runner.hard_s is not None:
                cell.deadlines[number] = int((monotonic() + runner.hard_s) * 1000)

        async def in_thread(work: Callable[[], Any]) -> Any:
            cell.running[number] = -first
            return await self._threads.run(kept(work), starts)

        cell.spans[number] = keys[-1] - first
        try:
            for key in keys if batch.holds else ():
                await self._attempts.free_started(batch, key, batch.row(split_key(key)[1]))
            if runner.is_async:
                starts()
            result = await _run(runner, list(items.values()), ctx, in_thread)
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
        runner: Runner,
        items: Mapping[int, BatchItem],
        error: BaseException | None,
        began: float | None,
    ) -> None:
        done, plain = 0, isinstance(batch, PacketBatch) and not runner.keeps
        for key, item in items.items():
            if (wrong := end_of(item) or error) is not None:
                self._attempts.raised(batch, key, batch.row(split_key(key)[1]), wrong, began)
            else:
                done += plain or self._attempts.returned(batch, key, batch.row(split_key(key)[1]), None, began)
        batch.left -= done
        if done and not batch.left:
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


def _items_of(batch: PacketBatch, call: Call) -> dict[int, BatchItem]:
    """Return the jobs of a packet that may start."""
    first = call.ordinals.start
    task, queue, priority, enqueued_at = batch.task, batch.lane.queue, batch.lane.priority, at_ms(batch.enqueued_ms)
    given = enumerate(batch.arguments(first, len(call.keys)), batch.first + first)
    return {
        key: BatchItem(
            id=id_,
            task=task,
            queue=queue,
            state=JobState.RUNNING,
            attempt=1,
            args=arguments,
            priority=priority,
            enqueued_at=enqueued_at,
        )
        for key, (id_, arguments) in zip(call.keys, given)  # noqa: B905 - of one length
        if arguments is not STRUCK
    }
