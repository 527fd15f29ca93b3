"""What a handler may ask for by annotating a parameter with `fastq.Context`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from fastq import codec
from fastq.config import RETRIES_MOST
from fastq.errors import CheckpointTooLarge, LeaseLost, UsageError
from fastq.flow import counted
from fastq.job import JobRef, JobSpec, at_ms
from fastq.postgres.connections import AnyAsyncConnection, AnyConnection, in_utf8, in_utf8_sync, inside, inside_async
from fastq.postgres.database import answering
from fastq.producer import Producer
from fastq.protocol import completion
from fastq.protocol.asking import carry_out, carry_out_sync
from fastq.protocol.completion import Place
from fastq.protocol.refusal import is_undone
from fastq.telling import Teller, Telling

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from fastq.app.tracing import Trace

_TAKEN = "the job was taken from this worker, or is done already: roll back what this run has written"


@dataclass(slots=True, kw_only=True)
class Context:
    """One run of one job.

    Attributes:
        id: the job's id, the same over all its attempts.
        task, queue: their names.
        attempt: the number of this run, from 1.
        retries_left: how many runs may follow this one.
        errors: the records of earlier failed runs, oldest first: type, message, traceback, attempt, at.
        enqueued_at: when it was enqueued, by the database's clock.
        headers: what was given as `options(headers=…)`.
        saved: the last checkpoint, of this run or an earlier one, or None.
        state: what the app's lifespan yielded, made once per worker process.
        unique: the job's unique key and until when it is held, or None.
        timeout_s: after how many seconds the run is cancelled, or None.
        deadline: the event loop's time at which the run is cancelled, or None.
        cancelled: True once this run was asked to stop.

    """

    app: Producer
    id: int
    task: str
    queue: str
    attempt: int
    retries_left: int
    errors: list[dict[str, Any]]
    headers: dict[str, Any]
    saved: Any
    enqueued_ms: int
    state: Any
    place: Place
    unique: Sequence[Any] | None = None
    timeout_s: float | None = None
    deadline: float | None = None
    cancelled: bool = False
    traced: Sequence[Trace] = ()
    """Who traces this run."""

    completed: bool = field(default=False, init=False)
    completing: bool = field(default=False, init=False)
    undone: BaseException | None = field(default=None, init=False)
    """What undid the transaction of this run between statements that are not the handler's."""

    recalls: bool = field(default=False, init=False)
    """Whether only the database knows the last checkpoint."""

    began: float | None = field(default=None, init=False)
    """When the handler was called, by `time.perf_counter`."""

    teller: Teller | None = field(default=None, init=False)
    """Has written how far the run says that it has come, if it has said so."""

    _telling: Telling | None = field(default=None, init=False)

    granted: int | None = field(default=None, init=False)
    """How many retries the job has now, where this run has granted it some."""

    @property
    def enqueued_at(self) -> datetime:
        """When the job was enqueued."""
        return at_ms(self.enqueued_ms)

    async def enqueue(self, spec: JobSpec) -> JobRef:
        """Enqueue another job."""
        return await self.app.enqueue(spec)

    async def progress(self, share: float, note: str = "") -> None:
        """Show how far this run has come: in `app.jobs`, `fastq jobs`, `fastq.job` and on the page.

        It is written at most once a second, the last word in any case, and never makes a job fail: where the database
        cannot be reached, nothing is shown. Of a job that has ended nothing is kept; see `checkpoint` for that.

        Args:
            share: from 0 to 1.
            note: a few words, such as ``"resizing"``; 200 characters at most are shown.

        Raises:
            UsageError: it is no share from 0 to 1, or no text.

        """
        if self.teller is None:
            self.teller = Teller(partial(self.app.tell_progress, self.place))
        await self.teller.tell(share, note)

    def progress_sync(self, share: float, note: str = "") -> None:
        """As `progress`, in a synchronous handler; what is said within a second of the last is shown with the next."""
        if self._telling is None:
            self._telling = Telling()
        self._telling.say(share, note)
        if (due := self._telling.due()) is not None:
            self.app.tell_progress_sync(self.place, *due)

    async def checkpoint(self, value: Any, *, conn: AnyAsyncConnection | None = None, extra_retries: int = 0) -> None:
        """Make `value` durable: `ctx.saved` of every later attempt, should this one fail or its worker die.

        Args:
            value: anything that can be written as JSON.
            conn: a connection of yours, as of `App.enqueue`: durable with its commit, and if it is rolled back, as if
                it had never been.
            extra_retries: so many more retries the job has from now on, for a job that has got somewhere.

        Raises:
            ArgumentError: it cannot be written as JSON, or is nested too deeply.
            CheckpointTooLarge: its JSON is larger than the app's `checkpoint_limit_bytes`.
            LeaseLost: the job was taken from this worker; nothing was written.
            UsageError: `conn` and `extra_retries` together, or one that cannot be.

        """
        text, retries = self._written(value), self._retries_with(extra_retries, conn)
        if conn is None:
            kept = await self.app.save_checkpoint(self.place, text, retries)
        else:
            own = await inside_async(conn)
            async with in_utf8(own):
                kept = await carry_out(own, completion.save_checkpoint(self.place, text))
        self._checkpointed(value, retries, kept=kept, borrowed=conn is not None)

    def checkpoint_sync(self, value: Any, *, conn: AnyConnection | None = None, extra_retries: int = 0) -> None:
        """As `checkpoint`, in a synchronous handler."""
        text, retries = self._written(value), self._retries_with(extra_retries, conn)
        if conn is None:
            kept = self.app.save_checkpoint_sync(self.place, text, retries)
        else:
            own = inside(conn)
            with in_utf8_sync(own):
                kept = carry_out_sync(own, completion.save_checkpoint(self.place, text))
        self._checkpointed(value, retries, kept=kept, borrowed=conn is not None)

    def _written(self, value: Any) -> str:
        """Return a checkpoint as JSON."""
        body, limit = codec.dumps_inside(value), self.app.kept.checkpoint_limit_bytes
        if len(body) > limit:
            raise CheckpointTooLarge(
                f"the checkpoint is {len(body):,} bytes of JSON; the limit is {limit:,}"
                " (App(checkpoint_limit_bytes=…)). Store the data elsewhere and keep a reference; nothing was written"
            )
        return body.decode()

    def _retries_with(self, extra_retries: int, conn: object) -> int | None:
        """Return how many retries the job has with some more; None if there are none."""
        if not counted(extra_retries):
            return None
        if conn is not None:
            raise UsageError("extra_retries would stay although conn is rolled back: grant them without conn")
        return min(self.attempt - 1 + self.retries_left + extra_retries, RETRIES_MOST)

    def _checkpointed(self, value: Any, retries: int | None, *, kept: bool, borrowed: bool) -> None:
        if not kept:
            raise LeaseLost("the job was taken from this worker; its checkpoint was not written")
        self.saved = value
        self.recalls = self.recalls or borrowed
        if retries is not None:
            self.granted = retries
            self.retries_left = retries - (self.attempt - 1)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a connection whose commit also completes this job: its effects happen exactly once.

        Raises:
            LeaseLost: the job was taken from this worker; nothing was written.
            UsageError: this run has completed its job already; a job completes once.

        """
        self._check_open()
        ours = True
        try:
            async with self.app.completing(self.place) as conn:
                ours = False
                yield conn
                ours = True
                if self.unique is not None:
                    with answering(conn):
                        await carry_out(conn, completion.free(self.place, self.id))
        except Exception as exc:
            self.undone = exc if ours and is_undone(exc) else None
            raise
        self.completed = True

    async def complete(self, conn: AnyAsyncConnection) -> None:
        """Complete this job in a transaction of yours: psycopg's, or SQLAlchemy's AsyncConnection or AsyncSession.

        Call it before the commit, and commit before the handler returns: then the job's effects happen exactly once. A
        handler that returns has succeeded, also when it rolled back.

        Raises:
            LeaseLost: the job was taken from this worker, or is done already: roll back.
            UsageError: this run has completed its job already, or `conn` holds no connection of psycopg's.

        """
        self._check_open()
        own = await inside_async(conn)
        if not await carry_out(own, completion.complete_in(self.place, frees=self._key)):
            raise LeaseLost(_TAKEN)
        self.completing = True

    def complete_sync(self, conn: AnyConnection) -> None:
        """As `complete`, in a synchronous handler; also in Django's transaction."""
        self._check_open()
        own = inside(conn)
        if not carry_out_sync(own, completion.complete_in(self.place, frees=self._key)):
            raise LeaseLost(_TAKEN)
        self.completing = True

    @property
    def _key(self) -> int | None:
        """The job's id, if it holds a unique key."""
        return None if self.unique is None else self.id

    def _check_open(self) -> None:
        if self.completed or self.completing:
            raise UsageError(f"job {self.id} is completed already: a run completes its job once")
