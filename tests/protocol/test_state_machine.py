"""Any order of everything: each job is in exactly one place, nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from scene import ask, hire, ids_of, states, take

from fastq.job import JobSpec, Options
from fastq.outcome import after_death
from fastq.protocol import ack, claim, completion, enqueue, reap, rotate, upkeep
from fastq.protocol.completion import Place
from fastq.protocol.enqueue import CopyText, Line
from fastq.settlement import Settlement
from fastq.states import Goes, JobState

pytestmark = pytest.mark.protocol

QUEUES = ("a", "b")
GOES = {
    "ready": (Goes.READY, ""),
    "retrying": (Goes.SCHEDULED, JobState.RETRYING),
    "failed": (Goes.FINISHED, JobState.FAILED),
}
_TABLES = ("ready_0", "ready_1", "ready_2", "ready_3", "lease", "scheduled", "finished", "worker", "progress")


class Fleet(RuleBasedStateMachine):
    """Two connections, two workers, and a model that knows each job's place.

    `leases` are the live ones: their worker, and the jobs in order, None once they left. `lost` are those that were
    reaped, whose worker does not know yet.
    """

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.conns = [self.run(psycopg.AsyncConnection.connect(self.dsn, autocommit=True)) for _ in range(2)]
        self.turn = 0
        self.run(self.conn.execute("; ".join(f"delete from fastq.{table}" for table in _TABLES)))
        self.workers = [self.run(hire(self.conn)) for _ in range(2)]
        self.places: dict[int, str] = {}
        self.leases: dict[int, tuple[int, list[int | None]]] = {}
        self.lost: list[tuple[int, int, int]] = []
        self.completed: set[tuple[int, int]] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one operation to its end."""
        return self.runner.run(work)

    @property
    def conn(self) -> psycopg.AsyncConnection[Any]:
        """The connections in turn, so that none is tied to a job."""
        self.turn += 1
        return self.conns[self.turn % 2]

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
        for job in self.run(enqueue.insert_lines(self.conn, [Line(spec, 1000)] * count)):
            assert job not in self.places
            self.places[job] = "ready" if wait is None else "scheduled"

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 6))
    def copy(self, queue: str, count: int) -> None:
        """Enqueue by COPY."""
        specs = [JobSpec("t", {}, Options(queue=queue))] * count
        for job in self.run(enqueue.copy_jobs(self.conn, specs, CopyText(slot=0, limit_bytes=1000), slot=0)):
            assert job not in self.places
            self.places[job] = "ready"

    # -- claims and their ends

    @rule(who=st.integers(0, 1), limit=st.integers(1, 5), with_acks=st.booleans())
    def claim(self, who: int, limit: int, with_acks: bool) -> None:
        """Claim from the first lane found; acks of finished and of lost leases ride along."""
        worker = self.workers[who]
        found = self.run(claim.discover(self.conn, slot=0, queues=[], exclude=[], unknown=[]))
        assert bool(found) == ("ready" in self.places.values())
        if not found:
            return
        lane, first = min(found, key=lambda pair: pair[1])
        mine = [lease for lease, (owner, jobs) in self.leases.items() if owner == worker and not any(jobs)]
        acks = [*mine, *(lease for lease, _, _ in self.lost)] if with_acks else []
        got = self.run(take(self.conn, worker, lane=lane, low=first - 1, limit=limit, acks=acks))
        assert sorted(got.acked) == sorted(mine if with_acks else [])
        for lease in got.acked:
            del self.leases[lease]
        jobs = ids_of(got)
        assert 1 <= len(jobs) <= limit
        for job in jobs:
            assert self.places[job] == "ready"
            self.places[job] = "running"
        self.leases[got.lease] = (worker, jobs)

    def leased(self, data: st.DataObject) -> tuple[int, int, list[int | None]]:
        """Choose a lease."""
        lease = data.draw(st.sampled_from(sorted(self.leases)))
        return lease, *self.leases[lease]

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def ack_lease(self, data: st.DataObject) -> None:
        """Acknowledge a whole lease, all of whose jobs ended."""
        lease, worker, jobs = self.leased(data)
        assert self.run(ack.ack(self.conn, slot=0, worker=worker, leases=[lease])) == {lease}
        for job in jobs:
            if job is not None:
                del self.places[job]
        del self.leases[lease]

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), ords=st.sets(st.integers(0, 4), min_size=1))
    def ack_some(self, data: st.DataObject, ords: set[int]) -> None:
        """Mark some jobs of a lease as done, again also those that are."""
        lease, worker, jobs = self.leased(data)
        pairs = [(lease, ordinal) for ordinal in ords if ordinal < len(jobs)]
        if pairs:
            assert self.run(ack.ack_jobs(self.conn, slot=0, worker=worker, jobs=pairs)) == {lease}
        for _, ordinal in pairs:
            if (job := jobs[ordinal]) is not None:
                del self.places[job]
                jobs[ordinal] = None

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), where=st.lists(st.sampled_from([None, *GOES]), min_size=1, max_size=5))
    def settle(self, data: st.DataObject, where: list[str | None]) -> None:
        """Settle some jobs of a lease, some of which have left it."""
        lease, worker, jobs = self.leased(data)
        settlements, moved = [], set()
        for ordinal, (job, place) in enumerate(zip(jobs, where, strict=False)):
            if place is None:
                continue
            goes, state = GOES[place]
            delay_s = 3600.0 if place == "retrying" else 0.0
            settlements.append(Settlement(lease=lease, ord=ordinal, goes=goes, state=state, attempt=1, delay_s=delay_s))
            if job is not None:
                self.places[job] = place
                jobs[ordinal] = None
                moved.add((lease, ordinal))
        assert self.run(ack.settle(self.conn, slot=0, worker=worker, settlements=settlements)) == moved

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), ordinal=st.integers(0, 4), commits=st.booleans())
    def complete(self, data: st.DataObject, ordinal: int, commits: bool) -> None:
        """Complete a job in a transaction of its own, that commits or does not."""
        lease, _, jobs = self.leased(data)
        if ordinal >= len(jobs) or jobs[ordinal] is None:
            return

        async def handler(conn: psycopg.AsyncConnection[Any]) -> None:
            async with conn.transaction(force_rollback=not commits):
                assert await completion.hold(conn, Place(0, lease, 0))
                await completion.complete(conn, Place(0, lease, ordinal))

        self.run(handler(self.conn))
        if commits:
            self.completed.add((lease, ordinal))

    # -- deaths

    @rule(who=st.integers(0, 1), running=st.booleans())
    def die(self, who: int, running: bool) -> None:
        """A worker dies, is reaped, and replaced."""
        worker = self.workers[who]
        back = self.run(
            reap.reap(
                self.conn,
                slot=0,
                worker=worker,
                verdict=lambda job: after_death(job, running=running, cause="SIGKILL", max_crashes=2),
            )
        )
        now = self.run(states(self.conn))
        unfinished = 0
        for lease, (owner, jobs) in list(self.leases.items()):
            if owner != worker:
                continue
            for ordinal, job in enumerate(jobs):
                if job is not None and (lease, ordinal) in self.completed:
                    del self.places[job]
                elif job is not None:
                    unfinished += 1
                    assert now[job] in (("ready", "failed") if running else ("ready",))
                    self.places[job] = now[job]
                self.lost.append((lease, ordinal, worker))
            del self.leases[lease]
        assert back == unfinished
        assert self.run(reap.reap(self.conn, slot=0, worker=worker, verdict=after_nothing)) is None
        self.workers[who] = self.run(hire(self.conn))

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        """A worker that was given up says what became of its jobs; nobody listens."""
        lease, ordinal, worker = data.draw(st.sampled_from(self.lost))
        settlement = Settlement(lease=lease, ord=ordinal, goes=Goes.READY)
        assert self.run(ack.settle(self.conn, slot=0, worker=worker, settlements=[settlement])) == set()
        assert self.run(ack.ack_jobs(self.conn, slot=0, worker=worker, jobs=[(lease, ordinal)])) == set()
        assert self.run(ack.ack(self.conn, slot=0, worker=worker, leases=[lease])) == set()
        assert not self.run(completion.hold(self.conn, Place(0, lease, 0)))

    # -- upkeep

    @rule(pass_time=st.booleans(), limit=st.integers(1, 5))
    def promote(self, pass_time: bool, limit: int) -> None:
        """Promote, perhaps after all that wait have become due."""
        waiting = {job for job, place in self.places.items() if place in ("scheduled", "retrying")}
        if pass_time:
            self.run(self.conn.execute("update fastq.scheduled set run_at = now()"))
        moved = self.run(upkeep.promote(self.conn, slot=0, limit=limit)).jobs
        now = self.run(states(self.conn))
        promoted = {job for job in waiting if now.get(job) == "ready"}
        assert len(promoted) == moved <= limit
        if pass_time:
            assert moved == min(limit, len(waiting))
        for job in promoted:
            self.places[job] = "ready"

    @rule()
    def turn_the_ring(self) -> None:
        """Truncate what can be and move the head on."""
        for segment in self.run(rotate.truncatable(self.conn)):
            assert self.run(rotate.truncate(self.conn, segment=segment))
        self.run(rotate.advance(self.conn, slot=0, head_bytes=1))

    # -- what always holds

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        """The database and the model agree on every job, and every lease is one that the model knows."""
        assert self.run(states(self.conn)) == self.places
        leases = self.run(ask(self.conn, "select id, worker from fastq.lease"))
        assert dict(leases) == {lease: worker for lease, (worker, _) in self.leases.items()}


def after_nothing(job: object) -> Settlement:
    """Refuse to decide: there must be nothing to decide on."""
    pytest.fail(f"{job} was found twice")


def test_each_job_is_in_exactly_one_place(dsn: str) -> None:
    """Random histories of enqueues, claims, acks, settlements, deaths, promotions and rotations keep the invariant."""
    machine = type("Machine", (Fleet,), {"dsn": dsn})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=35,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
