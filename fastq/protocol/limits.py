"""Limits of queues: setting them, and claims that keep to them over the whole fleet.

A claim of a queue with limits is a transaction: it locks the queue's allowance, counts what all leases of the queue
hold (a statement of its own, which sees what was committed while it waited for the lock), claims no more than is left,
and writes down what it took of the rate. Claims of other queues are the one statement that they always were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from math import inf
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.errors import LockNotAvailable

from fastq.protocol.asking import Request, carry_out_sync
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.looks import look
from fastq.sql import on_cluster, statement

Claim = Callable[..., Awaitable[Claimed]]
"""A claim that takes the keywords worker, lease, limit, acks, tasks."""

_SETTINGS = ("max_running", "max_running_per_group", "rate", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What was set for a queue; None is not.

    Attributes:
        name: the queue.
        max_running: so many of its jobs are claimed at a time, in the whole fleet.
        max_running_per_group: so many of each of its groups.
        rate: so many of its jobs start per second.
        weight: its share of the claims, in place of what workers say.

    """

    name: str
    max_running: int | None = None
    max_running_per_group: int | None = None
    rate: float | None = None
    weight: int | None = None

    @property
    def limited(self) -> bool:
        """Whether claims have to be counted."""
        return not (self.max_running is None and self.max_running_per_group is None and self.rate is None)


def set_queue(conn: Connection[Any], queue: str, **changes: float | None) -> QueueSettings:
    """Change settings of a queue by their names; None takes one away. Returns all that it has now."""
    params = {"queue": queue, "given": list(changes), **dict.fromkeys(_SETTINGS), **changes}
    name, max_running, per_group, rate, weight, _ = carry_out_sync(
        conn, Request("set_queue", params, lambda rows: rows[0])
    )
    return QueueSettings(name=name, max_running=max_running, max_running_per_group=per_group, rate=rate, weight=weight)


def list_settings(conn: Connection[Any]) -> list[QueueSettings]:
    """Return the settings of all queues that have some."""
    return [_settings_of(row) for row in conn.execute(statement("list_limits")).fetchall()]


async def read_settings(conn: AsyncConnection[Any]) -> list[QueueSettings]:
    """As `list_settings`."""
    cur = await conn.execute(statement("list_limits"), prepare=True)
    return [_settings_of(row) for row in await cur.fetchall()]


def _settings_of(row: tuple[Any, ...]) -> QueueSettings:
    return QueueSettings(**dict(zip(("name", *_SETTINGS), row, strict=True)))


@dataclass(frozen=True, slots=True)
class Bounded:
    """What a claim within limits gave.

    Attributes:
        claimed: as any claim's.
        again_s: in how many seconds to ask again, where the limits left no room, else None.
        queue_full: whether there was no room in the whole queue, and not only in the group.
        ends: whether there will be room as soon as a job ends.

    """

    claimed: Claimed
    again_s: float | None = None
    queue_full: bool = False
    ends: bool = False


HOME = 0
"""The shard of all allowances: a limit is one of the whole fleet, whichever shards its jobs are in."""

FULL_AGAIN_S = 0.05
"""So soon a worker looks again whether jobs of a full queue have ended elsewhere."""

WAITS = {"patience": "100ms", "absence": "10s"}
"""How long a claim waits for another one's, and how long the server waits for the worker that has one open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """How many jobs the queue, the group and the rate leave to be claimed; None is any number."""

    queue: int | None
    group: int | None
    rate: float | None
    tokens: float
    filled_at: str

    @property
    def jobs(self) -> float:
        """How many that are in all."""
        tokens = inf if self.rate is None else int(self.tokens)
        return max(0, min(*(inf if left is None else left for left in (self.queue, self.group)), tokens))

    def bounded(self, claimed: Claimed) -> Bounded:
        """Return the claim, and when to ask again."""
        if self.jobs:
            return Bounded(claimed)
        if self.rate is not None and self.tokens < 1:
            return Bounded(claimed, (1 - self.tokens) / self.rate, queue_full=True)
        return Bounded(claimed, FULL_AGAIN_S, queue_full=self.queue is not None and self.queue <= 0, ends=True)


async def claim_within(
    conn: AsyncConnection[Any],
    claim: Claim,
    *,
    lane: Lane,
    limit: int,
    acks: list[int],
    shards: Collection[int] = (0,),
    **rest: Any,
) -> Bounded:
    """Claim as `claim` does, no more than the limits of the lane's queue leave; its acks are done in any case.

    Whoever is claiming there already, and does not go on, is not waited for: the queue counts as full then. So it does
    while a shard is away, since nobody knows what runs there.
    """
    try:
        async with _alone(conn, lane.queue) if on_cluster() else nullcontext():
            return await _claim_within(conn, claim, lane=lane, limit=limit, acks=acks, shards=shards, **rest)
    except LockNotAvailable:
        return Bounded(await claim(conn, limit=0, acks=acks, **rest), FULL_AGAIN_S, queue_full=True)


@asynccontextmanager
async def _alone(conn: AsyncConnection[Any], queue: str) -> AsyncIterator[None]:
    """Keep others from claiming of a queue until the commit is through on all nodes; see lock_queue."""
    row = await (await conn.execute(statement("lock_queue"), {"queue": queue})).fetchone()
    if row is None or not row[0]:
        raise LockNotAvailable("somebody else is claiming")
    try:
        yield
    finally:
        await conn.execute(statement("unlock_queue"), {"queue": queue})


async def _claim_within(
    conn: AsyncConnection[Any],
    claim: Claim,
    *,
    lane: Lane,
    limit: int,
    acks: list[int],
    shards: Collection[int],
    **rest: Any,
) -> Bounded:
    place = {"shard": HOME, "queue": lane.queue}
    async with conn.transaction():
        room = await _room(conn, lane, place, acks, shards)
        claimed = await claim(conn, limit=int(min(limit, room.jobs)), acks=acks, **rest)
        if not claimed.empty and room.rate is not None:
            left = room.tokens - await _size(conn, lane, claimed.leases)
            await conn.execute(statement("spend_allowance"), {**place, "tokens": left, "filled_at": room.filled_at})
    return room.bounded(claimed)


async def _room(
    conn: AsyncConnection[Any], lane: Lane, place: dict[str, Any], acks: list[int], shards: Collection[int]
) -> _Room:
    found = await (await conn.execute(statement("lock_allowance"), {**place, **WAITS}, prepare=True)).fetchone()
    if found is None:
        await conn.execute(statement("insert_allowance"), place)
        return await _room(conn, lane, place, acks, shards)
    most, per_group, rate, tokens, filled_at = found
    grouped = per_group is not None and bool(lane.group_key)
    counted = {**place, "grouped": grouped, "group_key": lane.group_key, "acks": acks}
    counts = await look(conn, "count_running", counted, shards)
    if len(counts) < len(shards):
        raise LockNotAvailable("a shard is away")
    running, of_group = sum(row[1] for row in counts), sum(row[2] for row in counts)
    return _Room(
        queue=None if most is None else most - running,
        group=per_group - of_group if grouped else None,
        rate=rate,
        tokens=tokens,
        filled_at=filled_at,
    )


async def _size(conn: AsyncConnection[Any], lane: Lane, leases: list[int]) -> int:
    row = await (await conn.execute(statement("count_leased"), {"shard": lane.shard, "leases": leases})).fetchone()
    return 0 if row is None else int(row[0])
