"""Whatever the columns of a ready or a scheduled job hold: nothing raises, and every job ends somewhere.

The rows go past the door. Then a worker's lanes, claims, decisions and settlements, reapers and the promotion do what
they always do, until only what is not yet due is left.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scene import Conn, ask, hire, past_the_door
from test_odd_rows import NESTED, ODD_METAS

from fastq.backoff import Fixed
from fastq.ends.ending import Cancelled, Died, End, Exhausted, GivenBack, Raised, Stepped, Succeeded, Unreadable
from fastq.ends.outcome import RetryPolicy, conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.flow import Discard, Snooze
from fastq.protocol import ack, claim, discover, packed, reap, upkeep
from fastq.protocol.claim import Lane
from fastq.protocol.settle import settle_each
from fastq.worker.batch import Batch
from fastq.worker.lanes import Lanes

pytestmark = pytest.mark.protocol

INT2, INT8 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ATOMS = st.sampled_from(["1", '"x"', "null", "true"])
JSON = st.one_of(
    st.sampled_from(["{}", "null", "1e999", '"\\u0000"', '{"a":"\\ud800"}', "[" * 1500 + "]" * 1500, NESTED]),
    st.recursive(ATOMS, lambda inner: st.lists(inner).map(lambda values: f"[{','.join(values)}]")),
)
META = st.one_of(st.none(), st.sampled_from(ODD_METAS), JSON)
ROW = st.fixed_dictionaries(
    {"task": TEXT, "payload": JSON},
    optional={
        "id": st.one_of(st.integers(1, 4), INT8),
        "attempt": INT2,
        "enqueued_ms": INT8,
        "queue": TEXT,
        "group_key": TEXT,
        "priority": st.integers(0, 9),
        "meta": META,
    },
)
READY = st.lists(st.tuples(ROW, st.one_of(st.none(), INT8)), max_size=12)
TIMES = st.sampled_from(
    ["infinity", "-infinity", "4000-01-01 BC", "294000-01-01", "2000-01-01", "9999-12-31 23:59:59+00"]
)
SCHEDULED = st.lists(st.tuples(ROW, TIMES, st.sampled_from(["scheduled", "retrying"])), max_size=6)
ENDS: list[End] = [
    Succeeded(),
    Succeeded('"\\u0000"'),
    Stepped("next", "{}"),
    Raised(ValueError("\0\ud800")),
    Raised(Discard("no")),
    Raised(Snooze(0)),
    Cancelled(KeyError()),
    GivenBack(),
    Exhausted(),
    Unreadable("why"),
]
POLICY = RetryPolicy(retries=2, backoff=Fixed(delay_s=0), keep_s=60)
ROUNDS = 8
CLAIMS = 40
"""In each round, but in the last ones: a handler that always goes on to a next step keeps a lane full for ever."""


class Plant:
    """A worker's way through the tables, with one connection."""

    def __init__(self, conn: Conn, ends: list[End], deaths: list[bool]) -> None:
        self.conn = conn
        self.ends = ends
        self.deaths = deaths
        self.gone = 0
        self.turn = 0

    def note(self, tried: Settlement, why: BaseException, written: Settlement | None) -> None:
        """Let nothing be stuck."""
        assert written is not None, why

    def decide(self, job: LeasedJob, *, last: bool) -> Settlement:
        """Decide on one end after the other; in the last rounds everything fails for good."""
        self.turn += 1
        end: End = Raised(ValueError(), final=True) if last else self.ends[self.turn % len(self.ends)]
        settlement = conclude(job, end, POLICY)
        self.gone += settlement.goes == "done"
        return settlement

    async def round(self, *, last: bool) -> None:
        """Promote, claim from every lane, and settle or let the worker die."""
        while (await upkeep.promote(self.conn, shard=0)).jobs:
            pass
        lanes, who = Lanes({}), await hire(self.conn)
        lanes.learn(await discover.discover(self.conn, shard=0, queues=[], exclude=[]))
        leases = iter(await claim.take_lease_ids(self.conn))
        claims = 0
        while (picked := lanes.pick()) is not None and (last or claims < CLAIMS):
            claims += 1
            lane, low = picked
            got = await claim.claim(self.conn, lane=lane, worker=who, lease=next(leases), low=low, limit=4, acks=[])
            jobs = 0 if got.batch is None else await self.run(lane, who, got.lease, got.batch, last=last)
            lanes.took(lane, got.hi, jobs, dry=got.rows < 4 and not got.more)
        await discover.discover_beyond(
            self.conn, shards=[0], queues=[], exclude=[], known=lanes.known, since=lanes.since(0.0, 1.0)
        )
        end = Died(ran=not last, cause="x", counts=True)
        await reap.reap(self.conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=self.note)

    async def run(self, lane: Lane, who: int, lease: int, packed_jobs: bytes, *, last: bool) -> int:
        """Run a batch: some of it before the worker dies; returns how many jobs it had."""
        rows, bad = packed.decode(packed_jobs)
        batch = Batch(lane, lease, rows, 0.0)
        jobs = [batch.job(key, row) for key, row in batch.remaining]
        dies = self.deaths[self.turn % len(self.deaths)] and not last
        done = jobs[: len(jobs) // 2] if dies else jobs
        tried = [
            conclude(job, Unreadable(bad[job.ord])) if job.ord in bad else self.decide(job, last=last) for job in done
        ]
        if tried:
            moved = await settle_each(self.conn, shard=0, worker=who, settlements=tried, note=self.note)
            assert len(moved) == len(tried)
        if not dies:
            assert await ack.ack(self.conn, shard=0, worker=who, leases=[lease]) == {lease}
        return len(rows)


async def insert(conn: Conn, table: str, row: dict[str, Any]) -> int:
    """Insert a row; returns how many came, none where its key is taken."""
    names = ", ".join(row)
    places = ", ".join("%s::json" if name in ("payload", "meta") else "%s" for name in row)
    cur = await conn.execute(
        f"insert into fastq.{table} ({names}) values ({places}) on conflict do nothing", list(row.values())
    )
    return cur.rowcount


async def play(dsn: str, ready: Any, scheduled: Any, ends: list[End], deaths: list[bool]) -> None:
    """Put the rows in, and go round until nothing is left that can be run."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        for table in ("ready_0", "scheduled", "finished", "lease", "worker", "progress"):
            await conn.execute(f"delete from fastq.{table}")
        count = 0
        async with past_the_door(conn), past_the_door(conn, "scheduled"):
            for row, pos in ready:
                count += await insert(conn, "ready_0", row if pos is None else {**row, "pos": pos})
            for number, (row, run_at, reason) in enumerate(scheduled):
                count += await insert(
                    conn, "scheduled", {"id": 1000 + number, **row, "run_at": run_at, "reason": reason, "shard": 0}
                )
        plant = Plant(conn, ends, deaths)
        for number in range(ROUNDS):
            await plant.round(last=number >= ROUNDS - 3)
        tables = ("ready", "lease", "scheduled", "finished")
        left = {table: (await ask(conn, f"select count(*) from fastq.{table}"))[0][0] for table in tables}
        assert sum(left.values()) + plant.gone == count
        assert (left["ready"], left["lease"]) == (0, 0)
        assert await ask(conn, "select count(*) from fastq.scheduled where run_at <= now()") == [(0,)]


ENDLESS: Any = {"ready": [({"task": "a", "payload": "{}"}, None)] * 8, "scheduled": [], "ends": [Stepped("next", "{}")]}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(**ENDLESS, deaths=[False])
@given(
    ready=READY,
    scheduled=SCHEDULED,
    ends=st.lists(st.sampled_from(ENDS), min_size=1, max_size=6),
    deaths=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_every_job_ends_somewhere(dsn: str, ready: Any, scheduled: Any, ends: list[End], deaths: list[bool]) -> None:
    """None is lost, none is stuck, and none keeps another from going where it goes."""
    asyncio.run(play(dsn, ready, scheduled, ends, deaths))
