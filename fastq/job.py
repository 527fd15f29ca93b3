"""The values a job is made of, before it is enqueued and as the outside sees it. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from fastq import codec
from fastq.config import DEFAULT_PRIORITY, DEFAULT_QUEUE, DELAY_MOST_S, PRIORITIES, RETRIES_MOST
from fastq.errors import ArgumentError, UsageError

_TIMES = (datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
_META_MOST_BYTES, _META_LEVELS = 65536, 100
UniqueUntil = Literal["finished", "started"] | float
OnDead = Literal["skip", "block"]
_EPOCH = datetime.fromtimestamp(0, UTC)


def at_ms(ms: int) -> datetime:
    """Return the time so many milliseconds after 1970; what Python has no date for is its first or last one."""
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return (datetime.min if ms < 0 else datetime.max).replace(tzinfo=UTC)


def check_name(what: str, name: str, *, longest: int = 255) -> str:
    """Return `name` if it can name a queue, a task or a group: printable, not empty, at most `longest` characters."""
    if not isinstance(name, str) or not name or len(name) > longest or not name.isprintable():
        raise UsageError(f"{what} must be 1 to {longest} printable characters, not {name!r:.80}")
    return name


def _seconds(name: str, value: float | timedelta | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} must be seconds or a timedelta, not {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where and when a job runs.

    Attributes:
        queue: the queue's name.
        priority: 0 (first) to 9 (last).
        delay_s: seconds to wait, by the database's clock, or None.
        run_at: an aware datetime to wait for, or None.
        group_key: the group (a tenant, an account), or "".
        headers: small JSON-able values that travel with the job.
        unique_key: of the jobs with the same one, only one is enqueued at a time; or None.
        unique_until: how long the job holds its key: "finished", "started", or so many seconds.
        ordered: whether the job runs after those of its queue and group that were enqueued before it.
        on_dead: what the ordered jobs behind it do when it failed for good: "skip" it, or wait ("block").
        retries: how often it is tried again; None: as often as its task says.
        timeout_s: seconds after which a run is cancelled; None: those of its task.
        expires_s: seconds after the enqueue from which on it is not begun any more, but kept as expired; or None.

    """

    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    delay_s: float | None = None
    run_at: datetime | None = None
    group_key: str = ""
    headers: Mapping[str, Any] | None = None
    unique_key: str | None = None
    unique_until: UniqueUntil = "finished"
    ordered: bool = False
    on_dead: OnDead = "skip"
    retries: int | None = None
    timeout_s: float | None = None
    expires_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        check_name("queue", self.queue)
        if self.group_key != "":
            check_name("group_key", self.group_key)
        if not isinstance(self.priority, int) or isinstance(self.priority, bool) or self.priority not in PRIORITIES:
            raise UsageError(f"priority must be 0 (first) to 9 (last), not {self.priority!r}")
        if self.delay_s is not None and not 0 <= self.delay_s <= DELAY_MOST_S:
            raise UsageError(f"delay must be between 0 seconds and 100 years, not {self.delay_s!r} seconds")
        if self.run_at is not None:
            self._check_run_at(self.run_at)
        if self.run_at is not None and self.delay_s is not None:
            raise UsageError("give delay or run_at, not both")
        if self.unique_key is not None:
            check_name("unique_key", self.unique_key)
        if self.unique_until != "finished":
            self._check_until()
        if (self.ordered, self.on_dead) != (False, "skip"):
            self._check_order()
        if (self.retries, self.timeout_s, self.expires_s) != (None, None, None):
            self._check_run()
        self.meta()

    def _check_run_at(self, run_at: datetime) -> None:
        if not isinstance(run_at, datetime):
            raise UsageError(f"run_at must be a datetime with a time zone, not {run_at!r:.80}")
        if run_at.tzinfo is None:
            raise UsageError("run_at needs a time zone: use datetime.now(timezone.utc) or an aware datetime")
        if not _TIMES[0] <= run_at <= _TIMES[1]:
            raise UsageError(f"run_at must be a time between the years 1 and 9999 in every time zone, not {run_at}")

    def _check_order(self) -> None:
        if not isinstance(self.ordered, bool):
            raise UsageError(f"ordered must be True or False, not {self.ordered!r:.80}")
        if self.on_dead not in ("skip", "block"):
            raise UsageError(f'on_dead must be "skip" or "block", not {self.on_dead!r:.80}')
        if not self.ordered:
            raise UsageError('on_dead="block" needs ordered=True')

    def _check_run(self) -> None:
        retries, timeout_s = self.retries, self.timeout_s
        if retries is not None and (type(retries) is not int or not 0 <= retries <= RETRIES_MOST):
            raise UsageError(f"retries must be 0 to {RETRIES_MOST}, not {retries!r:.80}")
        if timeout_s is not None and not 0 < timeout_s <= DELAY_MOST_S:
            raise UsageError(f"timeout must be greater than 0 seconds, at most 100 years, not {timeout_s!r} seconds")
        expires_s = self.expires_s
        if expires_s is not None and not 0 < expires_s <= DELAY_MOST_S:
            raise UsageError(f"expires must be greater than 0 seconds, at most 100 years, not {expires_s!r} seconds")

    def _check_until(self) -> None:
        until = self.unique_until
        if self.unique_key is None:
            raise UsageError("unique_until needs a unique_key")
        if until != "started" and not (isinstance(until, (int, float)) and 0 < until <= DELAY_MOST_S):
            raise UsageError(f'unique_until must be "finished", "started" or seconds greater than 0, not {until!r:.80}')

    def but(self, **changes: Any) -> Options:
        """Return these options with some replaced; those that are times may be seconds or a timedelta."""
        known = {name: getattr(self, name) for name in self.__slots__}
        if "delay" in changes:
            changes["delay_s"] = _seconds("delay", changes.pop("delay"))
            known["run_at"] = None
        for name in ("timeout", "expires"):
            if name in changes:
                changes[f"{name}_s"] = _seconds(name, changes.pop(name))
        if changes.get("run_at") is not None:
            known["delay_s"] = None
        if isinstance(until := changes.get("unique_until"), timedelta):
            changes["unique_until"] = until.total_seconds()
        if unknown := changes.keys() - known.keys():
            raise UsageError(
                f"unknown option {', '.join(sorted(unknown))}; there are: delay, timeout, expires, {', '.join(known)}"
            )
        return Options(**{**known, **changes})

    @property
    def waits(self) -> bool:
        """Whether the job has a time to wait for."""
        return bool(self.delay_s) or self.run_at is not None

    @property
    def apart(self) -> bool:
        """Whether the job goes a way of its own into the database: it has a unique key, or is ordered."""
        return self.unique_key is not None or self.ordered

    def meta(self) -> bytes:
        """Return the rarer options as the JSON of the column `meta`; empty when there are none.

        Raises:
            UsageError: a header cannot be written as JSON.

        """
        if self.headers is not None and not isinstance(self.headers, Mapping):
            raise UsageError(f"headers must be a mapping of names to values, not {self.headers!r:.80}")
        own = (self.retries, self.timeout_s, self.expires_s)
        if not self.headers and not self.apart and own == (None, None, None):
            return b""
        rarer: dict[str, Any] = {} if self.unique_key is None else {"unique": [self.unique_key, self.unique_until]}
        if self.headers:
            rarer["headers"] = dict(self.headers)
        if self.ordered:
            rarer["ordered"] = self.on_dead
        if self.retries is not None:
            rarer["retries"] = self.retries
        if self.timeout_s is not None:
            rarer["timeout"] = self.timeout_s
        if self.expires_s is not None:
            rarer["expires"] = self.expires_s
        try:
            written = codec.dumps(rarer)
        except ArgumentError as exc:
            raise UsageError(f"a header {exc}; nothing was enqueued") from None
        if len(written) > _META_MOST_BYTES or not codec.nests_at_most(_META_LEVELS, written):
            raise UsageError(
                f"headers may have {_META_MOST_BYTES // 1024} kB of JSON, nested {_META_LEVELS} levels deep: pass more"
                " than that as an argument; nothing was enqueued"
            )
        return written


class JobSpec(msgspec.Struct, eq=False, gc=False):
    """One job to be enqueued: a task's name, its arguments by name, its options. Made by `task.job(…)`."""

    task: str
    args: dict[str, Any]
    options: Options

    def __repr__(self) -> str:
        return f"<JobSpec {self.task} {self.args!r:.100}>"


def check_spec(spec: object) -> None:
    """Refuse what is no job, such as a task, or the arguments of one.

    Raises:
        UsageError: it is none; nothing was enqueued.

    """
    if not isinstance(spec, JobSpec):
        raise UsageError(f"a job is what task.job(…) returns, not {spec!r:.80}; nothing was enqueued")


@dataclass(frozen=True, slots=True)
class Next:
    """Returned by a handler: its job goes on as this one. Made by `task.next(…)`."""

    spec: JobSpec


class Results(Protocol):
    """Where the results of jobs are waited for: `app.jobs`."""

    async def result(self, job: int, timeout: float | None = None) -> Any:
        """Wait for a job's end."""
        ...

    def result_sync(self, job: int, timeout: float | None = None) -> Any:
        """Wait for a job's end."""
        ...


class JobRef(msgspec.Struct, frozen=True, eq=False, gc=False, repr_omit_defaults=True):
    """An enqueued job: its id, and whether another job already held its unique key."""

    id: int
    duplicate: bool = False
    _results: Results | None = None

    async def result(self, timeout: float | None = None) -> Any:
        """Wait until the job has ended; return what its handler returned.

        Its task has to keep its jobs: ``@app.task(keep=…)``.

        Raises:
            JobFailed: it failed for good, was discarded or cancelled, or expired.
            JobGone: it was deleted.
            TimeoutError: it had not ended within `timeout` seconds.
            UsageError: the task keeps no results.

        """
        return await self._kept().result(self.id, timeout)

    def result_sync(self, timeout: float | None = None) -> Any:
        """As `result`, from synchronous code."""
        return self._kept().result_sync(self.id, timeout)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobRef) and (self.id, self.duplicate) == (other.id, other.duplicate)

    def __hash__(self) -> int:
        return hash((self.id, self.duplicate))

    def _kept(self) -> Results:
        if self._results is None:
            raise UsageError("only a job of a task with keep=… has a result to wait for")
        return self._results


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the view `fastq.job` shows it, or as a batch handler gets it."""

    id: int
    task: str
    queue: str
    state: str
    attempt: int
    args: dict[str, Any]
    priority: int = DEFAULT_PRIORITY
    enqueued_at: datetime | None = None
    run_at: datetime | None = None
    finished_at: datetime | None = None
    errors: tuple[dict[str, Any], ...] = ()
    headers: Mapping[str, Any] | None = None
