"""Runs jobs: a fixed pool of slots, each an asyncio task that runs one job after the other.

One asyncio.Task per job costs 2 µs, most of the budget. A slot keeps what a task of its own gives a job: its own
`asyncio.current_task()`, cancellation, and clean contextvars. After each job it looks whether the job left anything
behind, a changed context or a pending cancellation, and if so ends, and a fresh slot takes its place.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any

from msgspec.structs import astuple

from fastq.app import App
from fastq.app.tracing import Tracer
from fastq.ends.ending import Exhausted, GivenBack
from fastq.ends.outcome import exhausted
from fastq.host.board import Cell, split_key
from fastq.host.series import SHORT_S
from fastq.protocol.packed import TASK, Row
from fastq.worker.attempts import Attempts
from fastq.worker.backlog import Backlog
from fastq.worker.batch import Batch
from fastq.worker.batches import Call, Caller
from fastq.worker.hops import Hops
from fastq.worker.known import Known
from fastq.worker.ledger import Ledger
from fastq.worker.mode import Mode
from fastq.worker.packet import PacketBatch
from fastq.worker.runner import Runner
from fastq.worker.running import Running
from fastq.worker.slots import Slots
from fastq.worker.threads import Threads
from fastq.worker.turn import Turn

log = logging.getLogger("fastq.worker")


class Executor:
    """The slots of one worker and the batches that wait for them."""

    def __init__(self, app: App, state: Any, *, concurrency: int, threads: Threads, cell: Cell, ledger: Ledger) -> None:
        self._app = app
        runners = {name: Runner(task, app, state) for name, task in app.tasks.items()}
        self._runners = runners
        self._tells = log.isEnabledFor(logging.DEBUG)
        """Whether each success is logged: then none takes the fast path, which logs none."""

        self._attempts = Attempts(app, runners, threads=threads, cell=cell, ledger=ledger)
        self._concurrency = concurrency
        self._threads = threads
        self._cell = cell
        self._ledger = ledger
        self._backlog = Backlog({name: runner.batch for name, runner in runners.items() if runner.batch})
        self._caller = Caller(self._attempts, threads=threads, cell=cell, ledger=ledger)
        self._hops = Hops(self._attempts, threads=threads, cell=cell, ledger=ledger)
        self.running = Running(cell, ledger=ledger, attempts=self._attempts, caller=self._caller)
        self._slots = Slots(concurrency, len(cell.running), self._serve, self.running, self._goes_on)
        threads.on_more = self._slots.wake_one
        self._turn = Turn()
        self._all_sync = bool(runners) and not any(r.is_async for r in runners.values())
        self.mode = Mode.OPEN
        self._era = object()
        """Another one whenever slots have to look anew what they may do: they see it after each job."""

        self._suspect_runs = False
        batched = [(task.defaults.queue, task.batching) for task in app.tasks.values() if task.batching is not None]
        self.batching = dict(sorted(batched, key=lambda pair: pair[1].size))  # the largest of each queue
        self.on_room: Callable[[], None] = lambda: None

    # -- what the claimer asks

    @property
    def waiting(self) -> int:
        """Jobs claimed but not started."""
        return self._backlog.jobs

    @property
    def busy(self) -> int:
        """Slots that are running a job, or about to take one."""
        return self._slots.busy

    @property
    def known(self) -> Known:
        """The tasks that this app has; claims leave the jobs of all others where they are."""
        return self._attempts.known

    def opener_of(self, task: str) -> Callable[[bytes], list[Any]] | None:
        """Return what decodes a packet of a task in one call; None where its jobs want more than that."""
        runner = self._runners.get(task)
        return None if runner is None or self._tells else runner.open_many

    @property
    def tracers(self) -> Sequence[Tracer]:
        """Who is asked of each lease whether it traces its jobs."""
        return self._app.tracers

    @property
    def doubted(self) -> bool:
        """Whether nothing is started before `trust`."""
        return self.mode is Mode.DOUBTED

    @property
    def quiet(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self.busy == 0 and self.waiting == 0

    @property
    def free(self) -> int:
        """How many more jobs could run right now."""
        if self.mode is not Mode.OPEN:
            return 0
        if self._all_sync:
            return max(0, self._threads.limit - self._threads.busy)
        if self._threads.full:
            return 0
        return max(0, self._concurrency - self.busy)

    # -- batches in

    def feed(self, batch: Batch) -> None:
        """Queue a batch and see to it that a slot looks at it."""
        if isinstance(batch, PacketBatch) and self._runners[batch.task].threaded:
            self._backlog.add_threaded(batch)
        else:
            self._backlog.add(batch)
        if self._backlog.suspects and self.mode is Mode.OPEN:
            self._become(Mode.APART)
        self._slots.wake_one()

    def _goes_on(self) -> bool:
        """Tell whether there is work for a slot."""
        return bool(self._backlog) and self.mode is not Mode.CLOSING

    def _become(self, mode: Mode) -> None:
        """Change the mode; one that is closing only to the child of its fork."""
        if mode is Mode.FORKED or self.mode not in (Mode.CLOSING, Mode.FORKED):
            self.mode, self._era = mode, object()

    def resize(self, concurrency: int) -> None:
        """Run so many jobs at once from now on, or as many as the board has room for; what runs, ends."""
        room = len(self._cell.running)
        if concurrency > room:
            log.warning("%d jobs at once are asked for: this process has room for %d", concurrency, room)
        more = min(concurrency, room) - self._concurrency
        if more:
            self._concurrency += more
            self._era = object()
            self._slots.resize(more)
            log.info("runs %d jobs at once from now on", self._concurrency)
            if self._backlog:
                self._slots.wake_one()
            self.on_room()

    def resume(self) -> None:
        """Start again what may be started: the suspect has ended, or what waits here is still ours."""
        self._become(Mode.APART if self._backlog.suspects or self._suspect_runs else Mode.OPEN)
        if self._backlog:
            self._slots.wake_one()

    # -- the hot path

    async def _serve(self, number: int) -> None:  # noqa: C901 - one line for each thing that a slot can turn to
        """Run jobs until one leaves a trace in this task, or the executor closes."""
        try:
            while self.mode is not Mode.CLOSING:
                self._slots.waking = False
                if self._slots.surplus:
                    return
                if self.mode is Mode.FORKED:
                    os._exit(0)  # the child has come back from the handler
                if self.mode is Mode.DOUBTED:
                    await self._slots.sleep(self.on_room)
                elif self.mode is Mode.APART:
                    if self._suspect_runs or self.busy > 1:
                        await self._slots.sleep(self.on_room)
                    elif not await self._serve_alone(number):
                        return
                elif self._backlog.calls:
                    if not await self._serve_call(number, self._backlog.calls.popleft()):
                        return
                elif self._backlog.threaded and self._threads.room:
                    if not await self._serve_hop(number, self._backlog.threaded[0]):
                        return
                elif self._backlog.batches:
                    batch = self._backlog.batches[0]
                    if isinstance(batch, PacketBatch):
                        serving = self._serve_packet(number, batch)
                    else:
                        serving = self._serve_batch(number, batch, batch.remaining)
                    if not await serving:
                        return
                else:
                    await self._slots.sleep(self.on_room)
        finally:
            self._cell.running[number] = 0
            self._slots.give_back(number)

    async def _serve_batch(  # noqa: C901 - a call costs as much as a job
        self, number: int, batch: Batch, jobs: Iterator[tuple[int, Row]]
    ) -> bool:
        """Run jobs of one batch, sharing it with other slots; False when this slot must not run another job."""
        runners, plain = self._runners, not (batch.holds or self._tells or batch.traced)
        running, slots, attempts = self._cell.running, self._slots, self._attempts
        idle, numbers, counts, queue = slots.idle, slots.numbers, self._ledger.counts, batch.lane.queue
        mixed, spent_s = batch.only_task is None, 0.0
        me = asyncio.current_task()
        assert me is not None
        cancelling, clock = me.cancelling, perf_counter
        clean, copy_context = contextvars.copy_context(), contextvars.copy_context
        turn, started, era = self._turn.jobs, clock(), self._era
        for key, row in jobs:
            if not slots.waking and (idle or numbers):
                slots.wake_one()
            running[number] = key
            began: float | None = clock()
            task = row[TASK]
            try:
                runner = runners[task]
                if plain and runner.fast:
                    result = await runner.fn(*astuple(runner.open(row[4])))
                    done = (result is None and not runner.keeps) or attempts.returned(batch, key, row, result, began)
                else:
                    done = await attempts.run(runner, number, key, batch, row)
                    began, plain = attempts.began, not (batch.holds or self._tells or batch.traced)
            except BaseException as exc:  # noqa: BLE001 - whatever a handler raises is its job's outcome
                done = attempts.raised(batch, key, row, exc, began)
            seconds = 0.0 if began is None else clock() - began
            if seconds > SHORT_S or mixed:
                counts.ran(queue, task, seconds)
            else:
                spent_s += seconds
            if done:
                left = batch.left = batch.left - 1
                if not left:
                    self._ledger.finished(batch)
            if copy_context() != clean or cancelling():
                running[number] = 0
                counts.spent(queue, batch.only_task, spent_s)
                return False
            if self._era is not era:
                break
            turn -= 1
            if not turn:
                running[number] = 0
                self._turn.took(clock() - started)
                await asyncio.sleep(0)
                if self._era is not era:
                    break
                turn, started = self._turn.jobs, clock()
        else:
            self._backlog.served(batch)
            self.on_room()
        running[number] = 0
        counts.spent(queue, batch.only_task, spent_s)
        return True

    async def _serve_packet(self, number: int, batch: PacketBatch) -> bool:  # noqa: C901 - a call costs as much as a job
        """As _serve_batch, where all jobs are of one task and their arguments are decoded.

        The clock is read once a job: a job begins when the one before it has ended.
        """
        runner = self._runners[batch.task]
        fn, keeps = runner.fn, runner.keeps
        running, slots, attempts = self._cell.running, self._slots, self._attempts
        idle, numbers, series = slots.idle, slots.numbers, self._ledger.counts.of(batch.lane.queue, batch.task)
        me = asyncio.current_task()
        assert me is not None
        cancelling, clock = me.cancelling, perf_counter
        clean, copy_context = contextvars.copy_context(), contextvars.copy_context
        short, era = SHORT_S, self._era
        arguments: Any
        while self._era is era:
            started = began = clock()
            ended, untouched = 0, True
            for key, arguments in islice(batch.remaining, self._turn.jobs):
                if not slots.waking and (idle or numbers):
                    slots.wake_one()
                running[number] = key
                try:
                    result = await fn(*astuple(arguments))
                    done = (result is None and not keeps) or attempts.returned(
                        batch, key, batch.row(split_key(key)[1]), result, began
                    )
                except BaseException as exc:  # noqa: BLE001 - whatever a handler raises is its job's outcome
                    done = attempts.raised(batch, key, batch.row(split_key(key)[1]), exc, began)
                if (now := clock()) - began > short:
                    series.ran(now - began)
                began = now
                if done:
                    ended += 1
                if copy_context() != clean or cancelling():
                    untouched = False
                    break
                if self._era is not era:
                    break
            running[number] = 0
            series.spent(began - started)
            if ended:
                left = batch.left = batch.left - ended
                if not left:
                    self._ledger.finished(batch)
            if untouched and not batch.waiting:
                self._backlog.served(batch)
                self.on_room()
            if not (untouched and batch.waiting and self._era is era):
                return untouched
            self._turn.took(began - started)
            await asyncio.sleep(0)
        return True

    async def _serve_hop(self, number: int, batch: PacketBatch) -> bool:
        """Have a thread run jobs of a packet for a moment; False when this slot must not run another job."""
        self._slots.wake_one()
        me = asyncio.current_task()
        assert me is not None
        look, goes_on = partial(self.running.of, number), lambda: self.mode is Mode.OPEN
        await self._hops.run(self._runners[batch.task], number, batch, look, goes_on)
        self._backlog.served(batch)
        self.on_room()
        return not me.cancelling()

    async def _serve_call(self, number: int, call: Call) -> bool:
        """Run one call of a batch handler; False when this slot must not run another job."""
        self._slots.wake_one()
        me = asyncio.current_task()
        assert me is not None
        clean = contextvars.copy_context()
        await self._caller.run(self._runners[call.task], number, call)
        self.on_room()
        return contextvars.copy_context() == clean and not me.cancelling()

    async def _serve_alone(self, number: int) -> bool:
        """Run one suspect while nothing else runs: if it kills the process again, it alone is charged and repeated."""
        self._suspect_runs = True
        try:
            await self._ledger.flush_all()
            if not self._backlog.suspects:  # given back meanwhile
                return True
            batch, key, row = self._backlog.suspects.popleft()
            runner = self._runners.get(row[TASK])
            if runner and exhausted(job := batch.job(key, row), runner.policy):
                self._attempts.conclude(batch, job, Exhausted(), runner.policy)
                return True
            if runner and runner.batch:
                return await self._serve_call(number, Call(batch, row[TASK], [key]))
            batch.apart.append(split_key(key)[1])
            return await self._serve_batch(number, batch, iter([(key, row)]))
        finally:
            self._suspect_runs = False
            if self.mode is Mode.APART:
                self.resume()

    def doubt(self) -> None:
        """Start nothing more until `resume`: this process stood still, and others may have its jobs by now."""
        self._become(Mode.DOUBTED)
        self.on_room()

    # -- the end

    def give_back(self) -> int:
        """Return all jobs that were not started into line; returns how many."""
        count = 0
        for batch, job in self._backlog.take_all():
            self._attempts.conclude(batch, job, GivenBack())
            count += 1
        return count

    def forked(self) -> None:
        """Note that this process is the child of a handler's fork: it must not go on as a second worker."""
        self._become(Mode.FORKED)

    def _close(self) -> None:
        self._become(Mode.CLOSING)
        self._attempts.closing = True

    async def finish(self, timeout_s: float) -> bool:
        """Wait for running jobs; False if some are still running after `timeout_s`."""
        self._close()
        self._slots.wake_all()
        ending = [*self._slots.tasks, asyncio.ensure_future(self._attempts.reported())]
        _, late = await asyncio.wait(ending, timeout=timeout_s)
        return not late

    async def cancel(self, grace_s: float) -> int:
        """Cancel what still runs and give it `grace_s` to clean up; returns how many jobs would not end."""
        self._close()
        slots = set(self._slots.tasks)
        for slot in slots:
            slot.cancel()
        if not slots:
            return 0
        _, late = await asyncio.wait(slots, timeout=grace_s)
        return len(late)
