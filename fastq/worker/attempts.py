"""One run of one job, where it wants more than its payload, and what becomes of the job after any run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic, perf_counter, time
from typing import Any

from fastq import codec
from fastq.app import App, Hook
from fastq.context import Context
from fastq.ends.ending import Cancelled, End, Expired, GivenBack, Interrupted, Raised, Stepped, Succeeded
from fastq.ends.outcome import BY_DEFAULT, RetryPolicy, conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.errors import LeaseLost, ResultTooLarge, UsageError
from fastq.flow import Discard, Snooze
from fastq.host.board import NO_DEADLINE, Cell, split_key
from fastq.job import Next
from fastq.observability.runs import CurrentRun, enter, kept
from fastq.protocol.completion import Place
from fastq.protocol.packed import ATTEMPT, ENQUEUED_MS, PAYLOAD, TASK, Row
from fastq.states import Goes
from fastq.worker.batch import Batch, id_of, meta_of, row_holds
from fastq.worker.known import Known
from fastq.worker.ledger import Ledger
from fastq.worker.runner import PayloadMisfit, Runner
from fastq.worker.threads import Threads, outcome_of

log = logging.getLogger("fastq.worker")


class Attempts:
    """Runs jobs with a context, and decides and notes where jobs go. `closing`: the worker is being drained."""

    def __init__(self, app: App, runners: dict[str, Runner], *, threads: Threads, cell: Cell, ledger: Ledger) -> None:
        self._app = app
        self._runners = runners
        self._threads = threads
        self._cell = cell
        self._ledger = ledger
        self._reporting: set[asyncio.Task[None]] = set()
        self._contexts: dict[int, Context] = {}
        self._cancelled: dict[int, RetryPolicy] = {}
        self.known = Known(runners)
        self.began: float | None = None
        """When the handler of the last `run` was called; None if it was not."""

        self.closing = False

    # -- a run

    async def run(self, runner: Runner, number: int, key: int, batch: Batch, row: Row) -> bool:
        """Run a job that wants more than its payload; returns what `returned` or `raised` does."""
        self.began = None
        if self.expired(batch, key, row):
            return False
        running, deadlines = self._cell.running, self._cell.deadlines
        ctx = self._contexts[number] = self.context(runner, key, batch, row)

        def starts() -> None:
            running[number] = key
            ctx.began = perf_counter()
            if runner.hard_s is not None:
                deadlines[number] = int((monotonic() + runner.hard_s) * 1000)

        async def in_thread(work: Callable[[], Any]) -> Any:
            running[number] = -key
            return await self._threads.run(kept(work), starts)

        try:
            if ctx.unique is not None:
                await self.free_started(batch, key, row)
            if runner.is_async:
                starts()
            result = await runner.run(runner.arguments(row[PAYLOAD], ctx), ctx, in_thread)
        except BaseException as exc:
            ctx.cancelled = ctx.cancelled or self.closing
            if not ctx.completed:
                return self.raised(batch, key, row, exc, ctx.began, ctx)
            text = "job %s of %s raised after it had completed in its own transaction"
            log.exception(text, ctx.id, ctx.task, extra={"per": ctx.task})
            result = None
        finally:
            deadlines[number] = NO_DEADLINE
            del self._contexts[number]
            self.began = ctx.began
        if ctx.completed and isinstance(result, Next):
            text = "job %s of %s is completed by its own transaction: its next step is not taken"
            log.error(text, ctx.id, ctx.task, extra={"per": ctx.task})
            result = None
        return self.returned(batch, key, row, result, ctx.began)

    def context(self, runner: Runner, key: int, batch: Batch, row: Row) -> Context:
        """Return the context of a run."""
        meta = meta_of(row) or {}
        return runner.context(
            id=id_of(row),
            task=row[TASK],
            queue=batch.lane.queue,
            attempt=row[ATTEMPT] + 1,
            retries_left=max(0, runner.policy.retries_of(meta) - row[ATTEMPT]),
            timeout_s=runner.soft_s if runner.batch else meta.get("timeout", runner.soft_s),
            errors=meta.get("errors", []),
            headers=meta.get("headers", {}),
            unique=meta.get("unique"),
            saved=meta.get("checkpoint"),
            enqueued_ms=row[ENQUEUED_MS],
            place=Place(batch.lane.shard, batch.lease, split_key(key)[1]),
            traced=batch.trace(),
        )

    def expired(self, batch: Batch, key: int, row: Row) -> bool:
        """Settle a job whose time to begin has passed, by this host's clock; False when it has time."""
        after_s = (meta_of(row) or {}).get("expires")
        if after_s is None or time() < row[ENQUEUED_MS] / 1000 + after_s:
            return False
        self.conclude(batch, batch.job(key, row), Expired(), self._runners[row[TASK]].policy)
        return True

    async def free_started(self, batch: Batch, key: int, row: Row) -> None:
        """Give back the key of a job that holds it until it starts.

        Raises:
            LeaseLost: the job must not start.

        """
        unique = (meta_of(row) or {}).get("unique")
        if unique is None or unique[1] != "started":
            return
        if not await self._ledger.start_unique(batch, split_key(key)[1], id_of(row)):
            raise LeaseLost("the job was taken from this worker before it started")

    # -- what becomes of it

    def returned(self, batch: Batch, key: int, row: Row, result: object, began: float | None) -> bool:
        """Settle a run that returned. True when there is nothing to write: then its job is done, and acknowledged.

        `began` is when the handler was called, by `time.perf_counter`; None if it was not.
        """
        runner = self._runners[row[TASK]]
        try:
            end = self._end_of(result, runner)
        except BaseException as exc:  # noqa: BLE001 - what a result is made of is its handler's
            return self.raised(batch, key, row, exc, began)
        if isinstance(end, Succeeded) and runner.policy.keep_s is None and not row_holds(row):
            log.debug("job %s of %s succeeded", id_of(row), row[TASK])
            return True
        self.conclude(batch, batch.job(key, row), end, runner.policy, began=began)
        return False

    def _end_of(self, result: object, runner: Runner) -> End:
        """Return how a run ended that returned.

        Raises:
            UsageError: its next step, or its result where that is kept, cannot be written down.

        """
        if isinstance(result, Next):
            spec = result.spec
            if spec.options.run_at is not None:
                raise UsageError("a next step takes a delay, not run_at")
            return Stepped(spec.task, self._app.encode(spec).decode(), spec.options.delay_s)
        if runner.policy.keep_s is None or result is None:
            return Succeeded()
        body, limit = codec.dumps(result), self._app.kept.result_limit_bytes
        if len(body) > limit:
            raise ResultTooLarge(
                f"the result is {len(body):,} bytes of JSON; the limit is {limit:,} (App(result_limit_bytes=…))."
                " Store it elsewhere and return a reference; the job is not run again for that"
            )
        return Succeeded(body.decode())

    def raised(
        self, batch: Batch, key: int, row: Row, exc: BaseException, began: float | None, ctx: Context | None = None
    ) -> bool:
        """Settle a job whose run raised, or that nobody here can run. False: there is something to write."""
        runner = self._runners.get(row[TASK])
        job = batch.job(key, row)
        if key in self._cancelled and not isinstance(exc, Discard):
            error, called = (None, None) if row[TASK] is None else (exc, began)
            self.conclude(batch, job, Cancelled(error), self._cancelled.pop(key), began=called)
        elif runner is None:
            self.conclude(batch, job, GivenBack())
            self.known.tell([row[TASK]])
        elif self.closing and isinstance(exc, asyncio.CancelledError):
            self.conclude(batch, _with_checkpoint(job, ctx), GivenBack(), recalls=_recalls(ctx))
        else:
            final = isinstance(exc, PayloadMisfit | ResultTooLarge)
            ours = ctx is not None and exc is ctx.undone
            raised = Interrupted(exc) if ours else Raised(exc, final)
            going = _with_checkpoint(job, ctx)
            settlement = self.conclude(batch, going, raised, runner.policy, began=began, recalls=_recalls(ctx))
            if settlement.attempt != job.attempt or not ours:
                self._tell(settlement, ctx or self.context(runner, key, batch, row), exc)
        return False

    def conclude(
        self,
        batch: Batch,
        job: LeasedJob,
        end: End,
        policy: RetryPolicy = BY_DEFAULT,
        *,
        began: float | None = None,
        recalls: bool = False,
    ) -> Settlement:
        """Decide where a job goes and have that written: every end that is more than an ack."""
        settlement = conclude(job, end, policy)
        if recalls or (began is not None and settlement.goes is Goes.FINISHED):
            ran_ms = None if began is None else round((perf_counter() - began) * 1000)
            settlement = replace(settlement, recalls=recalls, ran_ms=ran_ms)
        error = end.error if isinstance(end, Raised | Interrupted | Cancelled) else None
        self._ledger.settle(batch, settlement, error)
        return settlement

    def cancel(self, batch: Batch, key: int, number: int | None) -> bool:
        """Note that somebody cancelled a job, which runs in slot `number` or was not started; False if it was noted."""
        if key in self._cancelled:
            return False
        for old in [old for old in self._cancelled if split_key(old)[0] not in self._ledger.open]:
            del self._cancelled[old]
        runner = self._runners.get(batch.task_of(split_key(key)[1]))
        self._cancelled[key] = BY_DEFAULT if runner is None else runner.policy
        if number in self._contexts:
            self._contexts[number].cancelled = True
        return True

    # -- hooks

    def _tell(self, settlement: Settlement, ctx: Context, error: BaseException) -> None:
        """Call the hooks for a run that failed, and for a job that will not run again."""
        hooks = [] if isinstance(error, Snooze) else [*self._app.failure_hooks]
        hooks += self._app.death_hooks if settlement.goes is Goes.FINISHED else ()
        for hook in hooks:
            telling = asyncio.get_running_loop().create_task(_call(hook, ctx, error), name="fastq-hook")
            self._reporting.add(telling)
            telling.add_done_callback(self._reporting.discard)

    async def reported(self) -> None:
        """Wait until all hooks have run."""
        while self._reporting:
            await asyncio.wait(self._reporting)


def _with_checkpoint(job: LeasedJob, ctx: Context | None) -> LeasedJob:
    """Return the job with the checkpoint that its run saved, and the retries it was granted, for its next attempt."""
    if ctx is None:
        return job
    meta = dict(job.meta or {})
    if ctx.saved is not None and not ctx.recalls:
        meta["checkpoint"] = ctx.saved
    if ctx.granted is not None:
        meta["retries"] = ctx.granted
    return replace(job, meta=meta or None)


def _recalls(ctx: Context | None) -> bool:
    return ctx is not None and ctx.recalls


async def _call(hook: Hook, ctx: Context, error: BaseException) -> None:
    """Call a hook and log what it raises: in a task of its own, SystemExit would end the process."""
    run = CurrentRun(job_id=ctx.id, task=ctx.task, queue=ctx.queue, attempt=ctx.attempt)
    enter(lambda: run)
    failed: BaseException | None = None
    if asyncio.iscoroutinefunction(hook):
        try:
            await hook(ctx, error)
        except BaseException as exc:  # noqa: BLE001 - a broken hook harms nobody
            failed = exc
    else:
        _, failed = await asyncio.to_thread(outcome_of, partial(hook, ctx, error))
    if failed is not None:
        log.error("a hook failed for job %s of %s", ctx.id, ctx.task, exc_info=failed, extra={"per": ctx.task})
