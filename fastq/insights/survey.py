"""Looking at the whole: how many jobs stand where, who works on them.

Fast at any backlog, because it counts up to a cap and estimates from a sample of pages beyond. Everything is read in
one snapshot, so no job is seen twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from psycopg import Connection
from psycopg.pq import TransactionStatus

from fastq.protocol.looks import look_sync
from fastq.sql import on_cluster, statement
from fastq.states import JobState

COUNT_MOST = 100_000
"""So many ready jobs of a segment, and so many waiting or failed ones, are counted one by one: about 10 ms."""

GLANCE = 20_000
"""As COUNT_MOST, for what is looked at again and again."""

_COUNTED = (JobState.READY, JobState.RUNNING, JobState.SCHEDULED, JobState.RETRYING, JobState.WAITING)
KEPT = "kept"
"""What the jobs that ended otherwise than by failing, and are kept, are counted as together."""

_COUNT_LEAST = 1000
QUEUES_MOST = 1000
_WORKERS_MOST = 1000
_SAMPLE_PAGES = 2000


@dataclass(frozen=True, slots=True)
class Count:
    """A number of jobs; when it is not `exact` it is an estimate, off by some percent."""

    jobs: int = 0
    exact: bool = True

    def __add__(self, other: Count) -> Count:
        """Return the sum; exact if both are."""
        return Count(self.jobs + other.jobs, self.exact and other.exact)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSurvey:
    """One queue.

    `running` are claimed jobs, `waiting` those behind others of their ordered group, `kept` those that succeeded,
    expired, were discarded or cancelled and are kept; `oldest_s` tells how long ago the oldest ready job was enqueued.
    """

    name: str
    paused: bool
    ready: Count
    running: Count
    scheduled: Count
    retrying: Count
    waiting: Count
    failed: Count
    kept: Count
    oldest_s: float | None

    @classmethod
    def empty(cls, name: str) -> Self:
        """Return a queue that has no job."""
        return cls(name=name, paused=False, oldest_s=None, **dict.fromkeys((*_COUNTED, JobState.FAILED, KEPT), Count()))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSurvey:
    """One worker process.

    `left_s` is what remains of its lease, `counters` what its steward last wrote of it, `about` what it told itself.
    """

    id: int
    host: str
    pid: int
    name: str
    age_s: float
    left_s: float
    counters: dict[str, Any] | None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def concurrency(self) -> int | None:
        """How many jobs it runs at once: as `fastq.resize()` has set it, or else as it started."""
        for told in (self.counters or {}, self.about):
            if isinstance(found := told.get("concurrency"), int):
                return found
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSurvey:
    """What there is one of. Sizes are in bytes and include indexes; `away` are shards that do not answer."""

    schema: int
    shards: int
    away: tuple[int, ...]
    leader: str | None
    ready_bytes: int
    lease_bytes: int
    scheduled_bytes: int
    finished_bytes: int

    @property
    def there(self) -> list[int]:
        """The shards that answer."""
        return [shard for shard in range(self.shards) if shard not in self.away]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that `fastq status` shows."""

    queues: tuple[QueueSurvey, ...]
    workers: tuple[WorkerSurvey, ...]
    fleet: FleetSurvey


@dataclass(slots=True)
class _Tally:
    """What is being counted: by state and queue, and what of it must be estimated."""

    counts: defaultdict[str, defaultdict[str, Count]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Count))
    )
    oldest: dict[str, float] = field(default_factory=dict)
    paused: dict[str, bool] = field(default_factory=dict)

    def add(self, state: str, queue: str, count: Count) -> None:
        self.counts[queue][state] += count

    @property
    def exact(self) -> bool:
        return all(count.exact for states in self.counts.values() for count in states.values())

    def estimate(self, rows: Iterable[tuple[str, str, int]], capped: set[str]) -> None:
        """Replace what was capped by estimates, but never by less than what was counted."""
        for state, queue, jobs in rows:
            counted = self.counts[queue][state]
            if not counted.exact or (state in capped and not counted.jobs):
                self.counts[queue][state] = Count(max(jobs, counted.jobs), exact=False)

    def queues(self) -> tuple[QueueSurvey, ...]:
        names = sorted(self.counts.keys() | self.paused.keys())
        states = (*_COUNTED, JobState.FAILED, KEPT)
        return tuple(
            QueueSurvey(
                name=name,
                paused=self.paused.get(name, False),
                oldest_s=self.oldest.get(name),
                **{str(state): self.counts[name][state] for state in states},
            )
            for name in names
        )


def survey(conn: Connection[Any], *, count_most: int = COUNT_MOST) -> Survey:
    """Look at the whole, in one read-only snapshot. In a transaction it must come first."""
    idle = conn.info.transaction_status == TransactionStatus.IDLE
    with conn.transaction() if idle else nullcontext():
        conn.execute("set transaction isolation level repeatable read, read only")
        conn.execute("set local enable_seqscan = off")  # few failed jobs among millions that are kept: by their index
        fleet = _fleet(conn)
        return Survey(queues=_queues(conn, fleet, count_most), workers=_workers(conn, fleet), fleet=fleet)


def _queues(conn: Connection[Any], fleet: FleetSurvey, cap: int) -> tuple[QueueSurvey, ...]:
    tally, shards = _Tally(), fleet.shards
    _ready(conn, tally, fleet, cap)
    for queue, jobs in conn.execute(statement("survey_running"), {}):
        tally.add(JobState.RUNNING, queue, Count(jobs))
    capped = {JobState.READY.value}
    for state, queue, jobs, more in conn.execute(statement("survey_waiting"), {"cap": cap, "shards": shards}):
        tally.add(state, queue, Count(jobs, exact=not more))
        if more:
            alone = state in (JobState.FAILED, JobState.WAITING, KEPT)
            capped |= {state} if alone else {JobState.SCHEDULED.value, JobState.RETRYING.value}
    if not tally.exact:
        rows = conn.execute(statement("survey_sample"), {"pages": _SAMPLE_PAGES}).fetchall()
        tally.estimate(rows, capped - {JobState.READY.value})
    for name, paused in conn.execute(statement("survey_queues"), {"limit": QUEUES_MOST}):
        tally.paused[name] = paused
    return tally.queues()


def _ready(conn: Connection[Any], tally: _Tally, fleet: FleetSurvey, cap: int) -> None:
    shards = fleet.shards
    each = max(cap // shards, min(cap, _COUNT_LEAST))
    params = {"cap": each, "floor": _COUNT_LEAST // shards, "queues": QUEUES_MOST}
    for _, queue, jobs, capped, oldest_s in look_sync(conn, "survey_ready", params, fleet.there, segments=True):
        tally.add(JobState.READY, queue, Count(jobs, exact=not capped))
        if oldest_s is not None:
            tally.oldest[queue] = max(oldest_s, tally.oldest.get(queue, 0.0))


def workers(conn: Connection[Any]) -> tuple[tuple[WorkerSurvey, ...], FleetSurvey]:
    """Look at the workers and the fleet alone, which takes no time at all."""
    fleet = _fleet(conn)
    return _workers(conn, fleet), fleet


def _workers(conn: Connection[Any], fleet: FleetSurvey) -> tuple[WorkerSurvey, ...]:
    wanted = {"limit": _WORKERS_MOST, "shard": min(fleet.there, default=0)}
    rows = conn.execute(statement("survey_workers"), wanted).fetchall()
    return tuple(
        WorkerSurvey(
            id=r[0],
            host=r[1],
            pid=r[2],
            name=r[3],
            age_s=r[4],
            left_s=r[5],
            counters=_counters(r[6]),
            about=r[7] if isinstance(r[7], dict) else {},
        )
        for r in rows
    )


def held(conn: Connection[Any]) -> dict[int, tuple[datetime, int]]:
    """Return of each worker that holds jobs since when it holds the oldest, and how many."""
    found: dict[int, tuple[datetime, int]] = {}
    for worker, since, jobs in conn.execute(statement("survey_held"), {}):
        earlier, more = found.get(worker, (since, 0))
        found[worker] = min(since, earlier), jobs + more
    return found


def _counters(told: Any) -> dict[str, Any] | None:
    """Return what can be shown of what a worker, or somebody else, has written there."""
    if not isinstance(told, dict):
        return None
    return {
        name: value
        for name, value in told.items()
        if isinstance(value, str) or (isinstance(value, int) and abs(value) < 1 << 53)
    }


def _fleet(conn: Connection[Any]) -> FleetSurvey:
    r = conn.execute(statement("survey_fleet"), {}).fetchone()
    if r is None:
        raise AssertionError("survey_fleet always returns one row")
    there = conn.execute(statement("list_shards_there")).fetchall() if on_cluster() else [(n,) for n in range(r[1])]
    return FleetSurvey(
        schema=r[0],
        shards=r[1],
        away=tuple(sorted({*range(r[1])} - {shard for (shard,) in there})),
        leader=r[2],
        ready_bytes=r[3],
        lease_bytes=r[4],
        scheduled_bytes=r[5],
        finished_bytes=r[6],
    )
