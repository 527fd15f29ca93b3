"""Unique keys under any order of everything: who lives holds its key, and nobody else does.

U1  A key that is held until finished or started has a job that waits or runs.
U2  A job that waits or runs, and whose key is held until finished, holds it. So two of them never have one key.

The steps are the real statements; enqueues come in twos, outcomes also from workers that were reaped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from scene import Conn, ask, expire, hire, take

from fastq.ends.ending import Died, GivenBack, Raised, Stepped, Succeeded
from fastq.ends.outcome import RetryPolicy, conclude, done
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.flow import Snooze
from fastq.job import JobSpec, Options, UniqueUntil
from fastq.protocol import completion, copying, discover, enqueue, reap, reserve, unique, upkeep
from fastq.protocol.asking import carry_out
from fastq.protocol.completion import Place
from fastq.protocol.enqueue import Apart
from fastq.protocol.packing import Packer
from fastq.protocol.settle import settle

pytestmark = pytest.mark.protocol

STEPS = 120
LIVING = "('ready', 'scheduled', 'retrying', 'reserved', 'running')"
BROKEN = f"""
select 'U1', k.key, k.job from fastq.unique_key k
where k.held_until <> 'time' and k.job not in (select j.id from fastq.job j where j.state in {LIVING})
union all
select 'U2', j.unique_key, j.id from fastq.job j
where j.state in {LIVING} and fastq.unique_of(j.meta) ->> 1 = 'finished'
  and not exists (select from fastq.unique_key k where k.key = j.unique_key and k.job = j.id)
  and j.id <> all (%s)
"""
ENDS: list[Callable[[LeasedJob], Settlement]] = [
    done,
    lambda job: conclude(job, GivenBack()),
    lambda job: conclude(job, Succeeded("1"), RetryPolicy(keep_s=60.0)),
    lambda job: conclude(job, Stepped("u", "{}", None)),
    lambda job: conclude(job, Stepped("u", "{}", 60.0)),
    lambda job: conclude(job, Raised(Snooze(60.0))),
    lambda job: conclude(job, Raised(ValueError("no"))),
    lambda job: conclude(job, Raised(ValueError("no"), final=True)),
]


Step = Callable[["Machine"], Awaitable[None]]


class Machine:
    """One worker and its predecessors, and what they believe to hold. `completed` are done in their own transaction."""

    def __init__(self, seed: int, conn: Conn, other: Conn, worker: int) -> None:
        self.luck = random.Random(seed)
        self.conn = conn
        self.other = other
        self.worker = worker
        self.leased: list[tuple[int, LeasedJob]] = []
        self.completed: list[int] = []

    async def step(self) -> str:
        """Do something; returns what."""
        (step,) = self.luck.choices(list(CHANCES), list(CHANCES.values()))
        await step(self)
        return str(step.__name__)

    def spec(self) -> JobSpec:
        """Return some unique job."""
        until: UniqueUntil = self.luck.choice(["finished", "finished", "started", 60])
        delay_s = self.luck.choice([None, 60.0])
        key = self.luck.choice("abc")
        return JobSpec("t", {}, Options(unique_key=key, unique_until=until, delay_s=delay_s, headers={"h": 1}))

    async def job(self, states: str = LIVING) -> int | None:
        """Return some job in one of these states."""
        rows = await ask(self.conn, f"select id from fastq.job where state in {states} order by id")
        return self.luck.choice(rows)[0] if rows else None

    async def enqueue_two(self) -> None:
        """Two producers at once, one may roll back."""
        rolls_back = self.luck.random() < 0.3

        async def produce(conn: Conn, spec: JobSpec, back: bool) -> None:
            async with conn.transaction(force_rollback=back):
                await carry_out(conn, enqueue.insert_apart(Apart(spec, 1000)))

        await asyncio.gather(produce(self.conn, self.spec(), rolls_back), produce(self.other, self.spec(), back=False))

    async def copy(self) -> None:
        """A stream."""
        specs = [self.spec() for _ in range(4)]
        await carry_out(self.conn, copying.copy_jobs(specs, Packer(shard=0, limit_bytes=1000)))

    async def reserve(self) -> None:
        """A reservation."""
        await carry_out(self.conn, reserve.reserve(self.spec(), b"{}", expires_s=60.0))

    async def end_reservation(self) -> None:
        """It is committed, abandoned, or expires; the first two at once."""
        if (job := await self.job("('reserved')")) is None:
            return
        if self.luck.random() < 0.3:
            await self.conn.execute("update fastq.scheduled set run_at = now() where id = %s", (job,))
            await reserve.expire(self.conn, shard=0)
            return
        commit, abandon = carry_out(self.conn, reserve.commit(job)), carry_out(self.other, reserve.abandon(job))
        await asyncio.gather(commit, *([abandon] if self.luck.random() < 0.3 else ()))
        abandon.close()

    async def claim(self) -> None:
        """The worker claims from the first lane."""
        for lane, _ in await discover.discover(self.conn, shard=0, queues=[], exclude=[]):
            got = await take(self.conn, self.worker, lane=lane, limit=self.luck.randint(1, 2))
            if got.batch is None:
                continue
            rows = await jobs_in(self.conn, self.worker, got.lease)
            self.leased += [(self.worker, job) for job in rows]
            return

    async def end(self) -> None:
        """A run ends somehow; it may be known to a reaped worker only."""
        if self.leased:
            who, job = self.leased.pop(self.luck.randrange(len(self.leased)))
            settlement = self.luck.choice(ENDS)(job)
            await settle(self.conn, shard=0, worker=who, settlements=[settlement])

    async def start(self) -> None:
        """A run starts."""
        if self.leased:
            who, job = self.luck.choice(self.leased)
            place = Place(0, job.lease, job.ord)
            await unique.free_started(self.conn, place=place, worker=who, job=job.id)

    async def complete(self) -> None:
        """A run completes in its own transaction, or rolls back."""
        if not self.leased:
            return
        _, job = self.luck.choice(self.leased)
        place, commits = Place(0, job.lease, job.ord), self.luck.random() < 0.7
        async with self.conn.transaction(force_rollback=not commits):
            if not await completion.hold(self.conn, place):
                return
            await carry_out(self.conn, completion.free(place, job.id))
            assert await completion.complete(self.conn, place)
        if commits:
            self.completed.append(job.id)

    async def reap(self) -> None:
        """The worker dies, with some of its jobs for good."""
        await expire(self.conn, self.worker)
        crashes = self.luck.choice([1, 3])

        def verdict(job: LeasedJob) -> Settlement:
            return conclude(job, Died(ran=self.luck.random() < 0.5, cause="x", max_crashes=crashes))

        await reap.reap(self.conn, shard=0, worker=self.worker, verdict=verdict)
        self.worker = await hire(self.conn)

    async def steer(self) -> None:
        """Somebody cancels, deletes or retries."""
        call = self.luck.choice(["cancel", "delete", "retry", "retry", "retry"])
        job = await self.job("('failed', 'cancelled')" if call == "retry" else LIVING)
        if job is not None:
            with suppress(psycopg.errors.UniqueViolation):  # a retry while another job holds the key
                await self.conn.execute(f"select fastq.{call}(%s)", (job,))

    async def steer_many(self) -> None:
        """The same for all."""
        call = self.luck.choice(["retry_jobs()", "cancel_jobs(array['ready'])", "purge('default')"])
        await self.conn.execute(f"select fastq.{call}".encode())

    async def pass_time(self) -> None:
        """Whatever waits is due, and keys that are held for a time are free; two upkeeps run."""
        await self.conn.execute("update fastq.scheduled set run_at = now() where reason <> 'reserved'")
        await self.conn.execute("update fastq.unique_key set expires_at = now() where expires_at is not null")
        await self.conn.execute("update fastq.unique_key set taken_at = now() - interval '1 hour'")
        await upkeep.promote(self.conn, shard=0)
        await unique.prune_expired(self.conn, shard=0, limit=1)
        assert (await unique.sweep(self.conn, shard=0, after="")).keys == 0


CHANCES: dict[Step, int] = {
    Machine.enqueue_two: 6,
    Machine.copy: 2,
    Machine.reserve: 2,
    Machine.end_reservation: 2,
    Machine.claim: 6,
    Machine.end: 6,
    Machine.start: 2,
    Machine.complete: 2,
    Machine.reap: 1,
    Machine.steer: 3,
    Machine.steer_many: 1,
    Machine.pass_time: 2,
}


async def jobs_in(conn: Conn, worker: int, lease: int) -> list[LeasedJob]:
    """Return the jobs of a lease."""
    rows = await ask(
        conn,
        "select u.ord, u.id, u.task, u.attempt, u.meta"
        " from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done) u where l.id = %s and l.worker = %s",
        lease,
        worker,
    )
    return [LeasedJob(lease=lease, ord=row[0], id=row[1], task=row[2], attempt=row[3], meta=row[4]) for row in rows]


@pytest.mark.parametrize("seed", range(12))
async def test_who_lives_holds_its_key(conn: Conn, other: Conn, seed: int) -> None:
    """U1 and U2 hold after every step."""
    machine = Machine(seed, conn, other, await hire(conn))
    steps: list[str] = []
    for _ in range(STEPS):
        steps.append(await machine.step())
        broken: list[Any] = await ask(conn, BROKEN, machine.completed)
        assert broken == [], steps[-10:]
