"""Claiming: take a batch of one lane, or of many groups, under a lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import tuple_row

from fastq.sql import numbered, statement

LEASE_IDS = 65536

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A claimed batch ends before it passes this size, as payloads lie on disk."""

PACKET_COUNTS_BYTES = 64 * 1024
"""A packet counts as so much there: a claim does not look at payloads, so it cannot know its size."""


class Lane(NamedTuple):
    """One line of jobs: claims take from one lane at a time, in order of position."""

    shard: int
    segment: int
    queue: str
    priority: int
    group_key: str


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks whose jobs are wanted: a few that are compared first, or None for any task, and all others."""

    hot: Sequence[str] | None
    known: Sequence[str] = ()

    @property
    def params(self) -> dict[str, Any]:
        """As the statements take them."""
        return {"hot": None if self.hot is None else list(self.hot), "known": list(self.known)}


ANY_TASK = Tasks(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What a lease has of a packet: `jobs` jobs of one task, from the one with the id `first` on.

    `payloads` is the whole packet, which begins with the job `start`; None where a stranger has deleted it. `meta` is
    what is rare about all of them, as JSON. `fresh`: they have been in line since their enqueue.
    """

    lease: int
    start: int
    first: int
    jobs: int
    task: str
    enqueued_ms: int
    meta: str | None
    payloads: bytes | None
    group_key: str = ""
    fresh: bool = False


@dataclass(slots=True)
class Claimed:
    """What a claim gave: `batch` is None without jobs of their own; `acked` are the leases that were still ours.

    `hi` is the position up to which a lane was claimed; `rows` is how many rows there were to be had, and `more` tells
    that some of them were left, since they would have made the claim too large.
    """

    lease: int
    batch: bytes | None
    hi: int
    acked: list[int]
    alive: bool
    more: bool = False
    rows: int = 0
    packets: list[Packet] = field(default_factory=list)
    reached: list[tuple[str, int, int]] = field(default_factory=list)
    """Of packets of many groups: group, position of the last job, jobs."""

    @property
    def leases(self) -> list[int]:
        """All leases that it made."""
        return [*([] if self.batch is None else [self.lease]), *(packet.lease for packet in self.packets)]

    @property
    def empty(self) -> bool:
        """Whether no job came."""
        return self.batch is None and not self.packets


async def take_lease_ids(conn: AsyncConnection[Any]) -> range:
    """Return a block of ids for leases, given to nobody else, ever."""
    row = await (await conn.execute(statement("take_lease_ids"))).fetchone()
    if row is None:
        raise AssertionError("take_lease_ids always returns one row")
    return range(row[0], row[0] + LEASE_IDS)


async def claim(
    conn: AsyncConnection[Any],
    *,
    lane: Lane,
    worker: int,
    lease: int,
    low: int,
    limit: int,
    acks: list[int],
    tasks: Tasks = ANY_TASK,
    rows: int | None = None,
    most: int = 0,
) -> Claimed:
    """Take up to `limit` jobs of a lane beyond position `low`, and on the way acknowledge leases of its segment.

    They come from at most `rows` rows, as many as jobs by default; up to `most` jobs a packet is not parted. `lease`
    and the `rows` numbers behind it are fresh ids from `take_lease_ids`; those of a claim that may have happened must
    not be used again.
    """
    wanted = {
        **params(lane, worker=worker, lease=lease, limit=limit, acks=acks, tasks=tasks, rows=rows, most=most),
        "group_key": lane.group_key,
        "low": low,
    }
    return await _ask(conn, statement("claim_jobs_if_worker_lives", lane.segment), wanted)


async def claim_groups(
    conn: AsyncConnection[Any],
    *,
    groups: Sequence[tuple[Lane, int]],
    share: int,
    worker: int,
    lease: int,
    limit: int,
    acks: list[int],
    tasks: Tasks = ANY_TASK,
    rows: int | None = None,
    most: int = 0,
) -> Claimed:
    """As claim, but from lanes that differ by their group alone, each with its mark: up to `share` rows of each."""
    lane = groups[0][0]
    wanted = {
        **params(lane, worker=worker, lease=lease, limit=limit, acks=acks, tasks=tasks, rows=rows, most=most),
        "groups": [other.group_key for other, _ in groups],
        "lows": [low for _, low in groups],
        "share": share,
    }
    return await _ask(conn, statement("claim_jobs_of_groups_if_worker_lives", lane.segment), wanted)


async def _ask(conn: AsyncConnection[Any], text: LiteralString, wanted: dict[str, Any]) -> Claimed:
    raw, order = numbered(text)
    cur = AsyncRawCursor(conn, row_factory=tuple_row)
    await cur.execute(raw, [wanted[name] for name in order], prepare=True, binary=True)
    return read(await cur.fetchall())


def params(
    lane: Lane,
    *,
    worker: int,
    lease: int,
    limit: int,
    acks: list[int],
    tasks: Tasks = ANY_TASK,
    rows: int | None = None,
    most: int = 0,
) -> dict[str, Any]:
    """Return the parameters that both claims have."""
    return {
        "shard": lane.shard,
        "worker": worker,
        "lease": lease,
        "queue": lane.queue,
        "priority": lane.priority,
        "limit": limit,
        "most": max(limit, most),
        "rows": limit if rows is None else min(limit, rows),
        "acks": sorted(acks),
        **tasks.params,
        "max_bytes": MAX_BATCH_BYTES,
        "packet_bytes": PACKET_COUNTS_BYTES,
    }


def read(found: Sequence[tuple[Any, ...]]) -> Claimed:
    """Return what the rows of a claim's answer say."""
    hi, acked, alive, rows, more = found[0][10:]
    claimed = Claimed(0, None, hi or 0, acked, alive, bool(more), rows)
    for lease, text_or_payloads, start, first, jobs, task, enqueued_ms, meta, group, fresh, reached, *_ in found:
        if start is not None:
            claimed.packets.append(
                Packet(
                    lease=lease,
                    start=start,
                    first=first,
                    jobs=jobs,
                    task=task,
                    enqueued_ms=enqueued_ms,
                    meta=meta,
                    payloads=text_or_payloads,
                    group_key=group or "",
                    fresh=fresh,
                )
            )
            if group is not None:
                claimed.reached.append((group, reached, jobs))
        elif lease is not None:
            claimed.lease, claimed.batch = lease, text_or_payloads
    return claimed
