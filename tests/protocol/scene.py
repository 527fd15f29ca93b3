"""What the protocol's tests set up and look at: workers, jobs by raw SQL, claims, and who waits for a lock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from fastq.ends.settlement import Settlement
from fastq.protocol import claim, packed, worker
from fastq.protocol.claim import Claimed, Lane, Tasks
from fastq.states import Goes, JobState
from fastq.worker.packet import rows_of

Conn = AsyncConnection[Any]

LANE = Lane(0, 0, "default", 4, "")
DEADLINE_S = 10.0


async def hire(conn: Conn, *, lease_s: float = 30.0, shards: int = 1) -> int:
    """Register a worker; a negative lease gives one that has expired already."""
    return await worker.register(conn, host="here", pid=1, name="", lease_s=lease_s, shards=shards)


async def expire(conn: Conn, *workers: int) -> None:
    """Let the time of workers run out."""
    await conn.execute(
        "update fastq.worker set expires_at = now() - interval '1 s' where id = any (%s)", [list(workers)]
    )


async def put(
    conn: Conn, *payloads: str, task: str = "t", lane: Lane = LANE, attempt: int = 0, meta: str | None = None
) -> list[int]:
    """Insert ready jobs by raw SQL, one for each payload; returns their positions."""
    placed = []
    for payload in payloads or ("{}",):
        cur = await conn.execute(
            f"insert into fastq.ready_{lane.segment} (shard, queue, priority, group_key, task, payload, attempt, meta)"
            " values (%s, %s, %s, %s, %s, %s::json, %s, %s::json) returning pos",
            (lane.shard, lane.queue, lane.priority, lane.group_key, task, payload, attempt, meta),
        )
        placed.append((await one(cur))[0])
    return placed


@asynccontextmanager
async def past_the_door(conn: Conn, table: str = "ready") -> AsyncIterator[None]:
    """Let jobs in that the constraint refuses, as they may stand there from before; then shut the door again."""
    door = (
        f"select replace(pg_get_constraintdef(oid), ' NOT VALID', '') from pg_constraint where conname = '{table}_fits'"
    )
    async with conn.transaction():
        ((fits,), *_) = await ask(conn, f"{door} and conrelid = 'fastq.{table}'::regclass")
        await conn.execute(f"alter table fastq.{table} drop constraint {table}_fits")
        yield
        await conn.execute(f"alter table fastq.{table} add constraint {table}_fits {fits} not valid")


async def put_many(conn: Conn, count: int, *, lane: Lane = LANE) -> None:
    """Insert `count` ready jobs with one statement."""
    await conn.execute(
        f"insert into fastq.ready_{lane.segment} (shard, queue, priority, group_key, task, payload)"
        " select %s, %s, %s, %s, 't', json_build_object('n', n) from generate_series(1, %s) n",
        (lane.shard, lane.queue, lane.priority, lane.group_key, count),
    )


async def one(cur: Any) -> tuple[Any, ...]:
    """Return the only row of a cursor."""
    (row,) = await cur.fetchall()
    return tuple(row)


async def ask(conn: Conn, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return await (await conn.execute(query, params)).fetchall()


async def take(
    conn: Conn,
    who: int,
    *,
    lane: Lane = LANE,
    low: int = 0,
    limit: int = 100,
    acks: Iterable[int] = (),
    tasks: Iterable[str] | None = None,
    most: int = 0,
) -> Claimed:
    """Claim for a worker, under an id that follows all others."""
    return await claim.claim(
        conn,
        lane=lane,
        worker=who,
        lease=(await claim.take_lease_ids(conn)).start,
        low=low,
        limit=limit,
        acks=list(acks),
        tasks=Tasks(None if tasks is None else list(tasks)),
        most=most,
    )


async def take_groups(
    conn: Conn, who: int, groups: Iterable[str], *, share: int = 10, limit: int = 100, low: int = 0
) -> Claimed:
    """Claim for a worker from many groups of the usual queue, all from `low` on."""
    return await claim.claim_groups(
        conn,
        groups=[(LANE._replace(group_key=group), low) for group in groups],
        share=share,
        worker=who,
        lease=(await claim.take_lease_ids(conn)).start,
        limit=limit,
        acks=[],
    )


def jobs_of(claimed: Claimed) -> list[list[Any]]:
    """Decode what a claim gave, jobs of their own first."""
    rows = packed.decode(claimed.batch)[0] if claimed.batch else []
    return [*rows, *(row for packet in claimed.packets for row in rows_of(packet)[0])]


def ids_of(claimed: Claimed) -> list[int]:
    """Return the ids of the claimed jobs, in order."""
    return [row[5] if len(row) > 5 and row[5] is not None else row[0] for row in jobs_of(claimed)]


def back(lease: int, ordinal: int = 0, **changes: Any) -> Settlement:
    """Return the settlement that puts a job back into line."""
    return Settlement(**{"lease": lease, "ord": ordinal, "goes": Goes.READY, **changes})


def later(lease: int, ordinal: int = 0, **changes: Any) -> Settlement:
    """Return the settlement that schedules a retry, due at once unless told."""
    return back(lease, ordinal, **{"goes": Goes.SCHEDULED, "state": JobState.RETRYING, "attempt": 1, **changes})


def failed(lease: int, ordinal: int = 0, **changes: Any) -> Settlement:
    """Return the settlement that keeps a job as failed."""
    return back(lease, ordinal, **{"goes": Goes.FINISHED, "state": JobState.FAILED, "attempt": 1, **changes})


async def states(conn: Conn) -> dict[int, str]:
    """Return every job's state by id, after checking that no job is in two places."""
    rows = await ask(conn, "select id, state from fastq.job")
    doubled = [job for job, places in Counter(row[0] for row in rows).items() if places > 1]
    assert not doubled, f"jobs in two places: {sorted(row for row in rows if row[0] in doubled)}"
    return dict(rows)


async def until_blocked(conn: Conn, waiter: Conn) -> None:
    """Return once the server says that `waiter` waits for a lock."""
    deadline = monotonic() + DEADLINE_S
    query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    while (await ask(conn, query, waiter.info.backend_pid))[0][0] is not True:
        assert monotonic() < deadline, "the statement that should wait for a lock does not"
        await asyncio.sleep(0.002)


async def until_blocked_or_done(conn: Conn, waiter: Conn, doing: asyncio.Task[Any]) -> None:
    """Return once `doing`, which `waiter` does, is through or waits for a lock."""
    blocked = asyncio.create_task(until_blocked(conn, waiter))
    await asyncio.wait({blocked, doing}, return_when=asyncio.FIRST_COMPLETED)
    blocked.cancel()
    await asyncio.wait({blocked})
