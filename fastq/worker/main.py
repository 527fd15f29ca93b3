"""The entry of a worker process, and the life of one: open, run, drain, leave."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import uvloop
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable

from fastq import __version__, sql
from fastq.app import App
from fastq.app.loader import load_app
from fastq.config import WorkerConfig
from fastq.errors import FastqError
from fastq.host.board import COUNTERS, Word
from fastq.host.child import Child
from fastq.observability import logs
from fastq.observability.runs import task_factory
from fastq.observability.throttle import throttled
from fastq.observability.totals import in_words
from fastq.postgres.link import Link
from fastq.protocol import worker as registry
from fastq.protocol.shards import Shards
from fastq.schema import migrator
from fastq.states import CellState, ExitCode
from fastq.worker import memory
from fastq.worker.claimer import Claimer, Fenced
from fastq.worker.declaring import declared
from fastq.worker.executor import Executor
from fastq.worker.lag import LagWatch
from fastq.worker.ledger import Ledger
from fastq.worker.threads import Threads

log = logging.getLogger("fastq.worker")

ASYNCHRONOUS = "set synchronous_commit = off"
SETUP = f"{ASYNCHRONOUS}; {sql.planner(cluster=False)}"
"""Losing a claim or an ack in a crash of the database only repeats jobs; enqueues are durable all the same."""

_OTHER_SCHEMA = (UndefinedColumn, UndefinedFunction, UndefinedTable)
_CANCEL_GRACE_S = 1.0
_FLUSH_S = 5.0
_CLOSE_S = 5.0
LAG_S = 1.0
"""An event loop that is blocked for so long is reported."""


def run(child: Child[WorkerConfig]) -> int:
    """Be a worker until told to stop; returns the exit code."""
    faulthandler.enable()
    # Never closed: that would wait for a handler that swallows its cancellation, and the process ends now anyway.
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(WorkerLife(child).run())
    except FastqError as exc:
        log.error("%s", exc)  # noqa: TRY400 - its message is for people; a traceback is not
        return exc.exit_code
    except _OTHER_SCHEMA as exc:
        log.error("the database has been migrated under this worker, which needs its own fastq's schema: %s", exc)  # noqa: TRY400
        return ExitCode.SCHEMA
    except Exception:
        log.exception("the worker cannot go on")
        return ExitCode.CRASH


def _about(cfg: WorkerConfig) -> dict[str, Any]:
    """Return what a worker tells of itself."""
    return {
        "version": __version__,
        "app": cfg.target,
        "concurrency": cfg.concurrency,
        "threads": cfg.threads,
        "queues": list(cfg.queues),
        "exclude_queues": sorted(cfg.exclude_queues),
    }


class WorkerLife:
    """One worker process. `run` goes through its life once."""

    def __init__(self, child: Child[WorkerConfig]) -> None:
        self._child = child
        self._config = child.config
        self._cell = child.cell
        self._bell = child.board.doorbells[child.cell.index]
        self._drain = asyncio.Event()
        self._worker_id = 0
        self._shards = Shards(self._config.shards)
        self._stirred = 0
        self._setup = f"{ASYNCHRONOUS}; {sql.planner(cluster=self._config.cluster)}"

    async def run(self) -> int:
        """Open, claim and run jobs until drained; returns the exit code."""
        if self._config.cluster:
            sql.use_cluster()
        app = load_app(self._config.target)
        logs.adopt()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(throttled(log))
            link = Link(self._config.dsn, f"fastq worker {self._config.name}".strip(), self._setup)
            stack.push_async_callback(link.close)
            await migrator.check_async(await link.open())
            await stack.enter_async_context(app.serving(self._config.dsn, self._child.board.seats))
            state = await stack.enter_async_context(app.lifespan(app)) if app.lifespan else None
            loop = asyncio.get_running_loop()
            loop.set_task_factory(task_factory)
            loop.add_signal_handler(signal.SIGTERM, self._drain.set)
            if not await self._register(link):
                return ExitCode.OK
            await stack.enter_async_context(declared(link, app, target=self._config.target, speaks=self._speaks))
            claimer, executor, ledger = self._assemble(app, state, link)
            self._listen(claimer, executor)
            # Not the loop's own handler: this one runs before the next job starts, in the middle of a batch.
            signal.signal(signal.SIGCONT, lambda *_: executor.doubt())
            watch = LagWatch(
                LAG_S, executor.running.describe, patience_s=self._config.lease_s / 2, doubt=executor.doubt
            )
            stack.callback(watch.close)
            self._cell.state = CellState.RUNNING
            gc.freeze()
            return await self._live(claimer, executor, ledger, link)

    @property
    def _told(self) -> dict[str, Any]:
        """What this worker says of itself where it registers."""
        cfg = self._config
        who = {"host": socket.gethostname(), "pid": os.getpid(), "name": cfg.name, "lease_s": cfg.lease_s}
        return {**who, "about": _about(cfg)}

    async def _register(self, link: Link) -> bool:
        """Announce this worker; False if it was told to leave while the database did not answer."""
        self._shards.count = self._shards_now()
        enlist = partial(registry.register, shards=self._shards.count, **self._told)
        registering = asyncio.create_task(link.call(enlist), name="fastq-register")
        draining = asyncio.create_task(self._drain.wait(), name="fastq-drain-early")
        await asyncio.wait({registering, draining}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        if not (registering.done() or await self._until(asyncio.get_running_loop().time() + _CLOSE_S, registering)):
            return False
        self._worker_id = registering.result()
        self._cell[Word.SHARDS] = self._shards.count
        self._shards.missing = set(range(self._shards.count)) if sql.on_cluster() else set()
        self._cell[Word.WORKER_ID] = self._worker_id
        self._child.board.steward_doorbell.ring()
        return True

    def _assemble(self, app: App, state: Any, link: Link) -> tuple[Claimer, Executor, Ledger]:
        cfg = self._config
        ledger = Ledger(link, self._cell, self._worker_id)
        executor = Executor(
            app,
            state,
            concurrency=cfg.concurrency,
            threads=Threads(cfg.threads, least=cfg.cpus),
            cell=self._cell,
            ledger=ledger,
        )
        self._fit(executor)
        os.register_at_fork(after_in_child=executor.forked)
        claimer = Claimer(cfg, worker=self._worker_id, link=link, executor=executor, ledger=ledger, shards=self._shards)
        board = self._child.board
        claimer.on_idle, claimer.on_more, claimer.on_vain = self._idle, board.ring_idle, self._rung_in_vain
        claimer.shards_now, claimer.about = self._shards_now, self._told
        claimer.on_joined = partial(self._cell.__setitem__, Word.SHARDS)
        claimer.listens = lambda: bool(board.house[Word.LISTENS]) and not sql.on_cluster()
        claimer.watches, claimer.lookout.speaks = self._watches, self._speaks
        return claimer, executor, ledger

    def _fit(self, executor: Executor) -> None:
        """Run as many jobs at once as somebody has asked for since the start."""
        if wanted := self._child.board.house[Word.CONCURRENCY]:
            executor.resize(wanted)

    def _shards_now(self) -> int:
        """How many shards there are, as far as this host knows."""
        return max(self._config.shards, self._child.board.house[Word.SHARDS])

    def _speaks(self) -> bool:
        """Whether this worker tells what concerns its host as a whole: the first one that runs does."""
        running = (cell.index for cell in self._child.board.cells if cell.state is CellState.RUNNING)
        return min(running, default=self._cell.index) == self._cell.index

    def _watches(self) -> bool:
        """Whether this worker looks for all that are idle on its host: the first one of them does."""
        idle = (cell.index for cell in self._child.board.cells if cell.state is CellState.RUNNING and cell[Word.IDLE])
        return min(idle, default=self._cell.index) == self._cell.index

    def _idle(self, level: int) -> None:
        """Show whether this worker waits for jobs."""
        self._cell[Word.IDLE] = level
        if not level:
            self._cell[Word.WOKEN] += 1

    def _rung_in_vain(self) -> None:
        """Let the steward know that the new jobs may be for others."""
        self._cell[Word.VAIN] += 1
        self._child.board.steward_doorbell.ring()

    def _listen(self, claimer: Claimer, executor: Executor) -> None:
        """Hear the doorbell, the lifeline and the signals."""
        loop = asyncio.get_running_loop()

        def rung() -> None:
            self._bell.hush()
            if self._cell[Word.FENCED]:
                executor.doubt()
            for key in self._cell.collect():
                executor.running.cancel(key)
            self._fit(executor)
            self._stirred, shards = self._child.board.stirred(self._stirred, self._shards.count)
            claimer.ring(shards)

        def drain() -> None:
            loop.remove_reader(self._child.lifeline_fd)
            self._drain.set()

        loop.add_reader(self._bell.fd, rung)
        loop.add_reader(self._child.lifeline_fd, drain)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, ExitCode.CRASH)
        loop.add_signal_handler(signal.SIGUSR1, self._dump)

    def _dump(self) -> None:
        """Write all stacks and the running jobs to stderr."""
        jobs = ", ".join(f"{lease}/{ordinal}" for lease, ordinal in self._cell.running_jobs()) or "none"
        print(f"worker {self._worker_id} pid {os.getpid()} runs (lease/job): {jobs}", file=sys.stderr)  # noqa: T201
        for task in asyncio.all_tasks():
            task.print_stack(limit=8, file=sys.stderr)
        faulthandler.dump_traceback(file=sys.stderr)

    async def _live(self, claimer: Claimer, executor: Executor, ledger: Ledger, link: Link) -> int:
        """Run the core loops; whichever ends first decides: a drain, a burst that ran dry, or a crash."""
        claiming = asyncio.create_task(claimer.run(), name="fastq-claimer")
        writing = asyncio.create_task(ledger.run(), name="fastq-ledger")
        draining = asyncio.create_task(self._asked_to_leave(), name="fastq-drain")
        try:
            await asyncio.wait({claiming, writing, draining}, return_when=asyncio.FIRST_COMPLETED)
            for core in (claiming, writing):
                if core.done() and (error := core.exception()) is not None:
                    raise error
            claimer.stop()
            return await self._leave(claiming, executor, ledger, link)
        except Fenced as exc:
            log.warning("%s: leaving, to be replaced", exc)
            self._end_within(_CANCEL_GRACE_S + _CLOSE_S)
            await executor.cancel(_CANCEL_GRACE_S)
            return ExitCode.CRASH
        finally:
            for task in (claiming, writing, draining):
                task.cancel()
            await asyncio.gather(claiming, writing, draining, return_exceptions=True)

    async def _asked_to_leave(self) -> None:
        """Return when a signal, the supervisor's death or this process's size says that it is time to go."""
        limit = self._config.max_memory_bytes
        if limit is None:
            await self._drain.wait()
            return
        drain = asyncio.create_task(self._drain.wait(), name="fastq-drain-signal")
        large = asyncio.create_task(memory.exceeded(limit), name="fastq-memory")
        try:
            await asyncio.wait({drain, large}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drain.cancel()
            large.cancel()

    async def _leave(self, claiming: asyncio.Task[None], executor: Executor, ledger: Ledger, link: Link) -> int:
        """Drain: give back what was not started, wait for the rest until the deadline, say everything, sign off."""
        self._cell.state = CellState.DRAINING
        self._end_within(self._config.shutdown_timeout_s + _CANCEL_GRACE_S + _FLUSH_S + _CLOSE_S)
        deadline = asyncio.get_running_loop().time() + self._config.shutdown_timeout_s
        await self._until(deadline, claiming)
        executor.give_back()
        await self._until(deadline, asyncio.create_task(ledger.flush(), name="fastq-flush"))
        remaining_s = max(0.0, deadline - asyncio.get_running_loop().time())
        late = not await executor.finish(remaining_s)
        stuck = await executor.cancel(_CANCEL_GRACE_S) if late else 0
        flushed = await self._until(
            asyncio.get_running_loop().time() + _FLUSH_S, asyncio.create_task(ledger.flush(), name="fastq-last-flush")
        )
        counts = {word: self._cell[word] for word in COUNTERS}
        log.info("drained: %s%s", in_words(counts), "; some were cut off at the deadline" if late else "")
        if not flushed or stuck:
            # What could not be written or ended stays in its leases: the steward gives it back as soon as we are gone.
            return ExitCode.OVERRAN
        if not await self._sign_off(link):
            return ExitCode.OVERRAN
        self._cell.state = CellState.FREE
        self._child.board.steward_doorbell.ring()  # to be counted before the cell is used again
        return ExitCode.OVERRAN if late else ExitCode.OK

    async def _sign_off(self, link: Link) -> bool:
        """Take this worker off the list; False if leases are left, or the database does not answer in time."""
        leave = partial(registry.unregister, worker=self._worker_id, shards=self._shards)
        signing = asyncio.create_task(link.call(leave), name="fastq-sign-off")
        return await self._until(asyncio.get_running_loop().time() + _CLOSE_S, signing) and signing.result()

    def _end_within(self, seconds: float) -> None:
        """Let the kernel end this process if it has not left by then: handlers and lifespans may hang."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    async def _until(self, deadline: float, task: asyncio.Task[Any]) -> bool:
        """Wait for a task until the loop's time `deadline`; False when it was too late or failed."""
        done, _ = await asyncio.wait({task}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        if not done:
            task.cancel()
            return False
        if error := task.exception():
            log.error("while draining: %s", error)
        return task.exception() is None
