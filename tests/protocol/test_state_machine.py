"""Any order of everything, cut off anywhere: no job is lost, doubled, or given to two.

What always holds, after every step (the numbers are those of docs/model.md):

I1  Every job that was enqueued is in exactly one place, the one the history says, until its final outcome is accepted.
I2  A job leaves only by an outcome: an ack, a settlement, its own transaction.
I3  An outcome is accepted once: repeated by a worker that lost the answer, it changes nothing.
I4  Of a worker that was reaped, nothing is accepted any more.
I5  Every lease has its worker's row; what jobs made durable has its lease.
I7  Truncation takes no row away, also none that is committed late.

The steps are the real statements on real connections. A connection can break at every exchange of a transaction, before
the server hears or after it has done it; reapers come in twos, and wait for a handler's transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from doomed import cut
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from packed_jobs import sweep
from scene import Conn, ask, expire, hire, ids_of, jobs_of, states, take, until_blocked

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.job import JobSpec, Options
from fastq.protocol import ack, completion, copying, discover, enqueue, leases, reap, rotate, upkeep
from fastq.protocol import settle as settling
from fastq.protocol import worker as registry
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.completion import Place
from fastq.protocol.enqueue import Line
from fastq.protocol.packing import Packer
from fastq.protocol.shards import Shards
from fastq.states import Goes, JobState

pytestmark = pytest.mark.protocol

QUEUES = ("a", "b")
GOES = {
    "ready": (Goes.READY, ""),
    "retrying": (Goes.SCHEDULED, JobState.RETRYING),
    "failed": (Goes.FINISHED, JobState.FAILED),
}
ANSWERS = st.sampled_from(["comes", "comes", "is lost", "nothing was sent"])
EVERYTHING = """
select 'job', id, state from fastq.job union all select 'lease', id, worker::text from fastq.lease
union all select 'worker', id, '' from fastq.worker union all select 'progress', lease, '' from fastq.progress
"""
_TABLES = ("packet", "ready_0", "ready_1", "ready_2", "ready_3", "lease", "scheduled", "finished", "worker", "progress")

Lease = tuple[int, list[int | None]]


class Fleet(RuleBasedStateMachine):
    """Two workers, and a history that knows each job's place.

    `leases` are the live ones: their worker, and the jobs in order, None once they left; `hidden` are those of which
    the worker does not know. `lost` are jobs of leases that were reaped, whose worker does not know that.
    """

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.conns = [self.run(psycopg.AsyncConnection.connect(self.dsn, autocommit=True)) for _ in range(3)]
        self.turn = 0
        self.run(self.conn.execute("; ".join(f"delete from fastq.{table}" for table in _TABLES)))
        self.workers = [self.run(hire(self.conn)) for _ in range(2)]
        self.places: dict[int, str] = {}
        self.leases: dict[int, Lease] = {}
        self.segments: dict[int, int] = {}
        self.hidden: set[int] = set()
        self.lost: list[tuple[int, int, int]] = []
        self.completed: set[tuple[int, int]] = set()
        self.saved: dict[int, int] = {}
        self.due: set[int] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one operation to its end."""
        return self.runner.run(work)

    @property
    def conn(self) -> Conn:
        """The connections in turn, so that none is tied to a job."""
        self.turn += 1
        return self.conns[self.turn % 3]

    def cut(self, work: Callable[[Conn], Awaitable[Any]], at: int, happens: bool) -> bool:
        """Do `work` on a connection that breaks at an exchange."""
        return bool(self.run(cut(self.conn, self.dsn, work, at=at, happens=happens)))

    def say(self, work: Callable[[Conn], Awaitable[Any]], answer: str) -> bool:
        """Say something once in vain if the answer does not come; True when it happened all the same."""
        if answer != "comes":
            assert not self.cut(work, 1, answer == "is lost")
        return answer == "is lost"

    def teardown(self) -> None:
        """Close everything."""
        for conn in self.conns:
            self.run(conn.close())
        self.runner.close()

    # -- jobs in

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 4), wait=st.sampled_from([None, 3600.0]))
    def insert(self, queue: str, count: int, wait: float | None) -> None:
        """Enqueue by one statement, now or for later."""
        spec = JobSpec("t", {}, Options(queue=queue, delay_s=wait))
        self.enqueued(
            self.run(carry_out(self.conn, enqueue.insert_lines([Line(spec, 1000)] * count))),
            "scheduled" if wait else "ready",
        )

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 6))
    def copy(self, queue: str, count: int) -> None:
        """Enqueue by COPY."""
        specs = [JobSpec("t", {}, Options(queue=queue))] * count
        self.enqueued(self.run(carry_out(self.conn, copying.copy_jobs(specs, Packer(shard=0, limit_bytes=1000)))))

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 3), commits=st.booleans())
    def commit_late(self, queue: str, count: int, commits: bool) -> None:
        """A producer's transaction is open while the ring turns; it commits, or does not."""
        lines = [Line(JobSpec("t", {}, Options(queue=queue)), 1000)] * count

        async def produce(conn: Conn, other: Conn) -> list[int]:
            async with conn.transaction(force_rollback=not commits):
                jobs = list(await carry_out(conn, enqueue.insert_lines(lines)))
                await turn_ring(other)
            return jobs

        jobs = self.run(produce(self.conn, self.conn))
        self.enqueued(jobs if commits else [])

    def enqueued(self, jobs: Any, place: str = "ready") -> None:
        """Note new jobs."""
        for job in jobs:
            assert job not in self.places
            self.places[job] = place

    # -- claims and their ends

    @rule(who=st.integers(0, 1), limit=st.integers(1, 5), with_acks=st.booleans(), answer=ANSWERS)
    def claim(self, who: int, limit: int, with_acks: bool, answer: str) -> None:
        """Claim from the first lane found; acks of finished and of lost leases ride along. The answer may be lost."""
        worker = self.workers[who]
        found = self.run(discover.discover(self.conn, shard=0, queues=[], exclude=[]))
        assert bool(found) == ("ready" in self.places.values())
        if not found:
            return
        lane, first = min(found, key=lambda pair: pair[1])
        ended = [lease for lease in self.known(worker) if not any(self.leases[lease][1])]
        mine = [lease for lease in ended if self.segments[lease] == lane.segment]
        acks = [*mine, *(lease for lease, _, _ in self.lost)] if with_acks else []

        async def take_some(conn: Conn) -> None:
            await take(conn, worker, lane=lane, low=first - 1, limit=limit, acks=acks)

        if answer == "comes":
            got = self.run(take(self.conn, worker, lane=lane, low=first - 1, limit=limit, acks=acks))
            assert sorted(got.acked) == sorted(mine if with_acks else [])
            self.took(worker, lane, got, limit)
        else:
            assert not self.cut(take_some, 2, answer == "is lost")
        if answer != "nothing was sent":
            for lease in mine if with_acks else []:
                del self.leases[lease]
        if answer == "is lost":
            held = self.run(leases.list_leases(self.conn, shard=0, worker=worker))
            new = [lease for lease in held if lease.lease not in self.leases]
            assert all(lease.lane.segment == lane.segment for lease in new)
            got = Claimed(0, None, 0, [], alive=True)
            for lease in new:
                got.packets += lease.claimed.packets
                if lease.claimed.batch is not None:
                    got.lease, got.batch = lease.lease, lease.claimed.batch
            self.took(worker, lane, got, limit)
            self.hidden |= {lease.lease for lease in new}

    def took(self, worker: int, lane: Lane, got: Claimed, limit: int) -> None:
        """Note a claim's leases; their jobs come with what earlier attempts saved."""
        assert 1 <= len(ids_of(got)) <= limit
        parts = [(packet.lease, replace(got, batch=None, packets=[packet])) for packet in got.packets]
        parts += [] if got.batch is None else [(got.lease, replace(got, packets=[]))]
        for lease, part in parts:
            jobs = ids_of(part)
            for job, row in zip(jobs, jobs_of(part), strict=True):
                assert self.places[job] == "ready"
                self.places[job] = "running"
                assert ((row[6] if len(row) > 6 else None) or {}).get("checkpoint") == self.saved.get(job)
            self.segments[lease] = lane.segment
            self.leases[lease] = (worker, [*jobs])

    @rule(who=st.integers(0, 1))
    def adopt(self, who: int) -> None:
        """A worker looks what the database believes it holds: all its leases, with what of them is done."""
        self.look(self.workers[who])

    def look(self, worker: int) -> None:
        """Compare what the database says that a worker holds; then the worker knows it too."""
        held = {lease.lease: lease for lease in self.run(leases.list_leases(self.conn, shard=0, worker=worker))}
        assert held.keys() == {lease for lease, (owner, _) in self.leases.items() if owner == worker}
        for lease, found in held.items():
            _, jobs = self.leases[lease]
            over = {n for n, job in enumerate(jobs) if job is None or (lease, n) in self.completed}
            assert found.done == over
            assert [job for n, job in enumerate(ids_of(found.claimed)) if n not in over] == [
                job for n, job in enumerate(jobs) if n not in over
            ]
            self.hidden.discard(lease)

    def known(self, worker: int) -> list[int]:
        """Return the leases that a worker knows of."""
        return [lease for lease, (owner, _) in self.leases.items() if owner == worker and lease not in self.hidden]

    def leased(self, data: st.DataObject) -> tuple[int, int, list[int | None]]:
        """Choose a lease that its worker knows of."""
        lease = data.draw(st.sampled_from(sorted(self.leases.keys() - self.hidden)))
        return lease, *self.leases[lease]

    def running(self, data: st.DataObject) -> tuple[int, int, int, int] | None:
        """Choose a running job: its lease, its ordinal, its id, its worker."""
        lease, worker, jobs = self.leased(data)
        ordinal = data.draw(st.integers(0, len(jobs) - 1))
        job = jobs[ordinal]
        return None if job is None or (lease, ordinal) in self.completed else (lease, ordinal, job, worker)

    def left(self, lease: int, ordinal: int, place: str | None) -> None:
        """Note that a job left its lease: for a table, or for good."""
        jobs = self.leases[lease][1]
        job, jobs[ordinal] = jobs[ordinal], None
        if job is None:
            return
        if place is None or (lease, ordinal) in self.completed:
            del self.places[job]
        else:
            self.places[job] = place

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(data=st.data(), answer=ANSWERS)
    def ack_lease(self, data: st.DataObject, answer: str) -> None:
        """Acknowledge a whole lease, all of whose jobs ended; again if the answer was lost."""
        lease, worker, jobs = self.leased(data)

        async def say(conn: Conn) -> set[int]:
            return await ack.ack(conn, shard=0, worker=worker, leases=[lease])

        happened = self.say(say, answer)
        assert self.run(say(self.conn)) == (set() if happened else {lease})
        for ordinal in range(len(jobs)):
            self.left(lease, ordinal, None)
        del self.leases[lease]

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(data=st.data(), ords=st.sets(st.integers(0, 4), min_size=1), answer=ANSWERS)
    def ack_some(self, data: st.DataObject, ords: set[int], answer: str) -> None:
        """Mark some jobs of a lease as done, again also those that are."""
        lease, worker, jobs = self.leased(data)
        pairs = [(lease, ordinal) for ordinal in ords if ordinal < len(jobs)]

        async def say(conn: Conn, who: int = worker) -> set[int]:
            return await ack.ack_jobs(conn, shard=0, worker=who, jobs=pairs)

        if pairs:
            assert self.run(say(self.conn, sum(self.workers) - worker)) == set(), "it is not the other one's"
            self.say(say, answer)
            assert self.run(say(self.conn)) == {lease}
        for _, ordinal in pairs:
            self.left(lease, ordinal, None)

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(data=st.data(), where=st.lists(st.sampled_from([None, *GOES]), min_size=1, max_size=5), answer=ANSWERS)
    def settle(self, data: st.DataObject, where: list[str | None], answer: str) -> None:
        """Settle some jobs of a lease, some of which have left it; again if the answer was lost."""
        lease, worker, jobs = self.leased(data)
        places = {n: place for n, place in enumerate(where[: len(jobs)]) if place is not None}
        settlements = [self.settlement(lease, n, place) for n, place in places.items()]
        moved = {(lease, n) for n in places if jobs[n] is not None}

        async def say(conn: Conn) -> set[tuple[int, int]]:
            return await settling.settle(conn, shard=0, worker=worker, settlements=settlements)

        happened = self.say(say, answer)
        assert self.run(say(self.conn)) == (set() if happened else moved)
        for ordinal, place in places.items():
            self.left(lease, ordinal, place)

    def settlement(self, lease: int, ordinal: int, place: str) -> Settlement:
        """Return what moves a job to a place, with its checkpoint."""
        goes, state = GOES[place]
        saved = self.saved.get(self.leases[lease][1][ordinal] or 0)
        return Settlement(
            lease=lease,
            ord=ordinal,
            goes=goes,
            state=state,
            attempt=1,
            delay_s=3600.0 if place == "retrying" else 0.0,
            meta=None if saved is None else {"checkpoint": saved},
        )

    # -- what running jobs make durable

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(data=st.data(), value=st.integers(1, 9))
    def checkpoint(self, data: st.DataObject, value: int) -> None:
        """Save a checkpoint, for the next attempt."""
        if chosen := self.running(data):
            lease, ordinal, job, _ = chosen
            assert self.run(carry_out(self.conn, completion.save_checkpoint(Place(0, lease, ordinal), str(value))))
            self.saved[job] = value

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(
        data=st.data(),
        ends=st.sampled_from(["commit", "rollback", "commit", "cut"]),
        at=st.integers(1, 8),
        retry=st.booleans(),
    )
    def complete(self, data: st.DataObject, ends: str, at: int, retry: bool) -> None:
        """Complete a job in a transaction of its own, that commits or does not or is cut off anywhere; or retry it."""
        if (chosen := self.running(data)) is None:
            return
        lease, ordinal, _, worker = chosen
        place = Place(0, lease, ordinal)

        async def handler(conn: Conn) -> None:
            async with conn.transaction(force_rollback=ends == "rollback"):
                assert await completion.hold(conn, place)
                assert await completion.complete(conn, place)

        if ends == "cut":
            assert not self.cut(handler, (at + 1) // 2, at % 2 == 0)
        else:
            self.run(handler(self.conn))
        committed = ends == "commit" or (ends == "cut" and at == 8)
        assert self.run(completion.resolve(self.conn, place)) is committed
        if committed:
            self.completed.add((lease, ordinal))
            assert not self.run(completion.hold(self.conn, place)), "a job completes once"
            self.look(worker)
            if retry:
                again = self.settlement(lease, ordinal, "retrying")
                assert self.run(settling.settle(self.conn, shard=0, worker=worker, settlements=[again])) == {
                    (lease, ordinal)
                }
                self.left(lease, ordinal, None)

    # -- deaths

    def verdict(self, running: bool) -> Callable[[LeasedJob], Settlement]:
        """Charge all jobs, or none."""
        return lambda job: conclude(job, Died(ran=running, cause="SIGKILL", max_crashes=2))

    @rule(who=st.integers(0, 1), running=st.booleans(), expired=st.booleans())
    def die(self, who: int, running: bool, expired: bool) -> None:
        """A worker dies, two stewards reap it at once, and it is replaced."""
        worker, verdict = self.workers[who], self.verdict(running)
        if expired:
            self.run(expire(self.conn, worker))

        async def both(*conns: Conn) -> list[int | None]:
            reaping = (reap.reap(conn, shard=0, worker=worker, verdict=verdict, expired=expired) for conn in conns)
            return list(await asyncio.gather(*reaping))

        back, nothing = sorted(self.run(both(self.conn, self.conn)), key=lambda count: count is None)
        assert nothing is None
        assert back == self.reaped(who, running)

    @rule(who=st.integers(0, 1))
    def lapse(self, who: int) -> None:
        """A heartbeat lapses and goes on before anybody reaps: nothing is claimed meanwhile, nothing given back."""
        worker = self.workers[who]
        self.run(expire(self.conn, worker))
        found = self.run(discover.discover(self.conn, shard=0, queues=[], exclude=[]))
        for lane, first in found[:1]:
            got = self.run(take(self.conn, worker, lane=lane, low=first - 1))
            assert (got.alive, got.batch) == (True, None)
        assert self.run(reap.expired_workers(self.conn, shards=[0])) == [(0, worker)]
        assert self.run(registry.renew(self.conn, shard=0, workers={worker: "{}"}, lease_s=30)).keys() == {worker}
        assert self.run(reap.reap(self.conn, shard=0, worker=worker, verdict=after_nothing, expired=True)) is None

    @rule(who=st.integers(0, 1), at=st.integers(1, 9), happens=st.booleans())
    def kill_the_reaper(self, who: int, at: int, happens: bool) -> None:
        """A reaper dies anywhere in its work: nothing was done, or all of it."""
        worker = self.workers[who]

        async def work(conn: Conn) -> None:
            await reap.reap(conn, shard=0, worker=worker, verdict=self.verdict(True))

        through = self.cut(work, at, happens)
        gone = not self.run(ask(self.conn, "select from fastq.worker where id = %s", worker))
        assert gone or not through
        if gone:
            self.reaped(who, running=True)

    @precondition(lambda self: self.leases.keys() - self.hidden)
    @rule(data=st.data(), commits=st.booleans())
    def reap_a_committing_worker(self, data: st.DataObject, commits: bool) -> None:
        """A reaper waits for a handler's transaction and respects what became of it; neighbours do not wait."""
        if (chosen := self.running(data)) is None:
            return
        lease, ordinal, _, worker = chosen
        place = Place(0, lease, ordinal)
        others = [(lease, n) for n in range(len(self.leases[lease][1])) if n != ordinal][:1]

        async def wait(handler: Conn, reaper: Conn, neighbour: Conn) -> int | None:
            async with handler.transaction(force_rollback=not commits):
                assert await completion.hold(handler, place)
                assert await completion.complete(handler, place)
                if others:
                    assert await ack.ack_jobs(neighbour, shard=0, worker=worker, jobs=others) == {lease}
                reaping = asyncio.create_task(
                    reap.reap(reaper, shard=0, worker=worker, verdict=self.verdict(running=False))
                )
                await until_blocked(neighbour, reaper)
            return await reaping

        back = self.run(wait(self.conn, self.conn, self.conn))
        for _, n in others:
            self.left(lease, n, None)
        if commits:
            self.completed.add((lease, ordinal))
        assert back == self.reaped(self.workers.index(worker), running=False)

    def reaped(self, who: int, running: bool) -> int:
        """Note that a worker was reaped, and replace it; returns how many jobs went back."""
        worker, now, count = self.workers[who], self.run(states(self.conn)), 0
        for lease, (owner, jobs) in list(self.leases.items()):
            if owner != worker:
                continue
            for ordinal, job in enumerate(jobs):
                if job is not None and (lease, ordinal) not in self.completed:
                    count += 1
                    assert now[job] in (("ready", "failed") if running else ("ready",))
                self.left(lease, ordinal, now.get(job or 0))
                self.lost.append((lease, ordinal, worker))
            del self.leases[lease]
            self.hidden.discard(lease)
        self.workers[who] = self.run(hire(self.conn))
        return count

    @rule(who=st.integers(0, 1), at=st.integers(1, 4), happens=st.booleans())
    def drain(self, who: int, at: int, happens: bool) -> None:
        """A worker gives back what it did not start and signs off, even if cut off; what it does not know is reaped."""
        worker = self.workers[who]
        for lease in self.known(worker):
            jobs = self.leases[lease][1]
            rest = [self.settlement(lease, n, "ready") for n, job in enumerate(jobs) if job is not None]
            moved = self.run(settling.settle(self.conn, shard=0, worker=worker, settlements=rest))
            assert moved == {(lease, s.ord) for s in rest}
            for s in rest:
                self.left(lease, s.ord, "ready")
            assert self.run(ack.ack(self.conn, shard=0, worker=worker, leases=[lease])) == {lease}
            del self.leases[lease]

        async def sign_off(conn: Conn) -> None:
            await registry.unregister(conn, worker=worker, shards=Shards(1))

        self.cut(sign_off, at, happens)
        self.run(sign_off(self.conn))
        self.run(expire(self.conn, worker))
        hidden = [lease for lease, (owner, _) in self.leases.items() if owner == worker]
        assert self.run(reap.expired_workers(self.conn, shards=[0])) == ([(0, worker)] if hidden else [])
        back = self.run(reap.reap(self.conn, shard=0, worker=worker, verdict=self.verdict(running=False)))
        assert back == (self.reaped(who, running=False) if hidden else None)
        if not hidden:
            self.workers[who] = self.run(hire(self.conn))

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """A worker that was given up says what became of its jobs, and wants more; nobody listens."""
        lease, ordinal, worker = data.draw(st.sampled_from(self.lost))
        place = Place(0, lease, ordinal)
        settlement = Settlement(lease=lease, ord=ordinal, goes=Goes.READY)
        assert self.run(settling.settle(self.conn, shard=0, worker=worker, settlements=[settlement])) == set()
        assert self.run(ack.ack_jobs(self.conn, shard=0, worker=worker, jobs=[(lease, ordinal)])) == set()
        assert self.run(ack.ack(self.conn, shard=0, worker=worker, leases=[lease])) == set()
        assert not self.run(completion.hold(self.conn, place))
        assert not self.run(completion.resolve(self.conn, place))
        assert not self.run(carry_out(self.conn, completion.save_checkpoint(place, "1")))
        found = self.run(discover.discover(self.conn, shard=0, queues=[], exclude=[]))
        for lane, first in found[:1]:
            got = self.run(take(self.conn, worker, lane=lane, low=first - 1))
            assert (got.alive, got.batch) == (False, None)
        assert self.run(leases.list_leases(self.conn, shard=0, worker=worker)) == []
        assert self.run(registry.renew(self.conn, shard=0, workers={worker: "{}"}, lease_s=30)) == {}
        self.run(registry.unregister(self.conn, worker=worker, shards=Shards(1)))

    # -- upkeep

    @rule(pass_time=st.booleans(), limit=st.integers(1, 5), answer=ANSWERS)
    def promote(self, pass_time: bool, limit: int, answer: str) -> None:
        """Promote, perhaps after all that wait have become due."""
        if pass_time:
            self.run(self.conn.execute("update fastq.scheduled set run_at = now()"))
            self.due = {job for job, place in self.places.items() if place in ("scheduled", "retrying")}
        happened = self.say(lambda conn: upkeep.promote(conn, shard=0, limit=limit), answer)
        first = min(limit, len(self.due)) if happened else 0
        moved = self.run(upkeep.promote(self.conn, shard=0, limit=limit)).jobs
        assert moved == min(limit, len(self.due) - first)
        now = self.run(states(self.conn))
        promoted = {job for job in self.due if now[job] == "ready"}
        assert len(promoted) == first + moved
        self.due -= promoted
        self.places.update(dict.fromkeys(promoted, "ready"))

    @precondition(lambda self: "ready" in self.places.values() or "scheduled" in self.places.values())
    @rule(data=st.data(), deletes=st.booleans())
    def take_out(self, data: st.DataObject, deletes: bool) -> None:
        """Somebody cancels or deletes one job that waits; its neighbours stay."""
        job = data.draw(st.sampled_from(sorted(j for j, at in self.places.items() if at in ("ready", "scheduled"))))
        ((said,),) = self.run(ask(self.conn, f"select fastq.{'delete' if deletes else 'cancel'}(%s)", job))
        assert said == (self.places[job] if deletes else "cancelled")
        self.due.discard(job)
        if deletes:
            del self.places[job]
        else:
            self.places[job] = "cancelled"

    @rule()
    def sweep(self) -> None:
        """The leader sweeps packets of which no job is left: all of them, when nothing is."""
        self.run(sweep(self.conn))
        if not self.leases and not {"ready", "scheduled"} & {*self.places.values()}:
            assert self.run(ask(self.conn, "select pos from fastq.packet")) == []

    @rule(at=st.integers(0, 5), happens=st.booleans())
    def turn_the_ring(self, at: int, happens: bool) -> None:
        """Truncate what can be and move the head on; perhaps a truncation is cut off first."""
        for emptied in self.run(rotate.truncatable(self.conn)):
            if at:
                self.cut(lambda conn, emptied=emptied: rotate.truncate(conn, emptied), at, happens)
        self.run(turn_ring(self.conn))

    # -- what always holds

    @invariant()
    def database_and_history_agree(self) -> None:
        """Each job is in its one place, each lease is known and its worker there, nothing outlives its lease."""
        rows = self.run(ask(self.conn, EVERYTHING))
        assert sorted((row, state) for what, row, state in rows if what == "job") == sorted(self.places.items())
        leases = {row: int(worker) for what, row, worker in rows if what == "lease"}
        assert leases == {lease: worker for lease, (worker, _) in self.leases.items()}
        assert {row for what, row, _ in rows if what == "worker"} == {*self.workers}
        assert {row for what, row, _ in rows if what == "progress"} <= leases.keys()


def after_nothing(job: LeasedJob) -> Settlement:
    """Refuse to decide: there must be nothing to decide on."""
    pytest.fail(f"{job} was found, though its worker lives")


async def turn_ring(conn: Conn) -> None:
    """Truncate what is empty and move the head on."""
    for emptied in await rotate.truncatable(conn):
        await rotate.truncate(conn, emptied)
    await rotate.advance(conn, shard=0, head_bytes=1)


def test_no_job_is_lost_or_doubled(dsn: str) -> None:
    """Random histories of everything that workers, stewards and producers do, cut off anywhere, keep the invariants."""
    machine = type("Machine", (Fleet,), {"dsn": dsn})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=35,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
