"""What strangers put into a row costs that job alone: it is kept as failed, with the reason, and all others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from scene import LANE, Conn, ask, back, failed, hire, later, past_the_door, put, states, take

from fastq import codec
from fastq.backoff import Fixed
from fastq.ends.ending import Died, Raised, Succeeded
from fastq.ends.outcome import MOST_ATTEMPT, RetryPolicy, conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import leases, packed, reap, upkeep
from fastq.protocol import settle as settling
from fastq.protocol.claim import Claimed
from fastq.worker.batch import Batch

pytestmark = pytest.mark.protocol

AGAIN = RetryPolicy(retries=5, backoff=Fixed(delay_s=0))
NESTED = '{"headers":{"a":' + "[" * 300 + "]" * 300 + "}}"
ODD_METAS = [
    NESTED,
    "[1]",
    "1",
    '"text"',
    "null",
    '{"crashes":"x"}',
    '{"crashes":-7}',
    '{"crashes":1e400}',
    '{"errors":5}',
    '{"errors":[1,"x",null]}',
    '{"errors":{"a":1}}',
    '{"headers":[1]}',
    '{"unique":5}',
    '{"unique":[]}',
    '{"unique":["k",{}]}',
    '{"ordered":7}',
    '{"ordered":"neither"}',
    '{"checkpoint":"\\u0000"}',
    '{"headers":{"a":"\\ud800"}}',
    '{"errors":[{"type":1,"message":[]}],"crashes":2}',
]


class Notes(list[tuple[Settlement, BaseException, Settlement | None]]):
    """What could not be written as it was."""

    def __call__(self, tried: Settlement, why: BaseException, written: Settlement | None) -> None:
        """Take note."""
        self.append((tried, why, written))

    @property
    def reasons(self) -> list[str]:
        """The last error of each that was written."""
        return [written.meta["errors"][-1]["message"] for _, _, written in self if written and written.meta]


@pytest.fixture
def notes() -> Notes:
    """A list of what could not be written."""
    return Notes()


def opened(claimed: Claimed) -> list[LeasedJob]:
    """Return the jobs of a claim as a worker decides about them."""
    rows, bad = packed.decode(claimed.batch or b"[]")
    assert not bad
    batch = Batch(LANE, claimed.lease, rows, 0.0)
    return [batch.job(key, row) for key, row in batch.remaining]


async def settle_each(conn: Conn, who: int, notes: Notes, *settlements: Settlement) -> int:
    """Settle; returns how many moved."""
    return len(await settling.settle_each(conn, shard=0, worker=who, settlements=settlements, note=notes))


@asynccontextmanager
async def refusing(conn: Conn, table: str, why: str = "no", *, when: str = "new.task = 'bad'") -> AsyncIterator[None]:
    """Let a trigger of a DBA's refuse rows of a table."""
    await conn.execute(
        f"create function pg_temp.refuse() returns trigger language plpgsql as"
        f" $$ begin if {when} then raise exception '{why}'; end if; return new; end $$"
    )
    await conn.execute(
        f"create trigger refuse before insert on fastq.{table} for each row execute function pg_temp.refuse()"
    )
    try:
        yield
    finally:
        await conn.execute(f"drop trigger refuse on fastq.{table}")
        await conn.execute("drop function pg_temp.refuse()")


# -- rows


@pytest.mark.parametrize("meta", ODD_METAS)
@pytest.mark.parametrize("dies", [False, True])
async def test_an_odd_meta_costs_its_job_alone(conn: Conn, notes: Notes, meta: str, dies: bool) -> None:
    """A run that fails, or whose worker dies, can be written; or it is kept as failed, and its neighbours go on."""
    await put(conn, "{}", "{}")
    async with past_the_door(conn):
        await put(conn, '{"odd":1}', meta=meta)
    await put(conn, "{}")
    who = await hire(conn)
    claimed = await take(conn, who)
    if dies := dies or bool(packed.decode(claimed.batch or b"")[1]):
        end = Died(ran=True, cause="x")
        assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=notes) == 4
    else:
        tried = [conclude(job, Raised(ValueError("no")), AGAIN) for job in opened(claimed)]
        assert await settle_each(conn, who, notes, *tried) == 4
    neighbours = await ask(conn, "select distinct state from fastq.job where payload::text = '{}'")
    assert neighbours == [("ready" if dies else "retrying",)]
    assert len(await states(conn)) == 4


async def test_what_is_nested_too_deeply_says_so(conn: Conn, notes: Notes) -> None:
    """orjson reads 1,024 levels and writes 254: the failure cannot be written, and that is what is kept of it."""
    async with past_the_door(conn):
        (place,) = await put(conn, meta=NESTED)
    who = await hire(conn)
    (job,) = opened(await take(conn, who))
    assert await settle_each(conn, who, notes, conclude(job, Raised(ValueError("boom")), AGAIN)) == 1
    assert await states(conn) == {place: "failed"}
    ((errors,),) = await ask(conn, "select meta->'errors' from fastq.finished")
    assert [error["message"] for error in errors] == [
        "boom",
        "failed, and the failure could not be written: Recursion limit reached",
    ]


async def test_a_checkpoint_that_is_nested_too_deeply_can_be_reaped(conn: Conn, notes: Notes) -> None:
    """What was written before there was a limit does not keep the jobs of its worker from going back."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    deep = codec.dumps(nest(250)).decode()
    await conn.execute(
        "insert into fastq.progress (shard, lease, ord, checkpoint) values (0, %s, 1, %s)", [lease, deep]
    )
    end = Died(ran=True, cause="x")
    assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=notes) == 2
    assert await states(conn) == {places[0]: "ready", places[1]: "ready"}


def nest(depth: int) -> list[Any]:
    """Return so many lists, one in the other."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("attempt", [MOST_ATTEMPT, MOST_ATTEMPT - 1, -(2**15)])
async def test_attempts_stay_within_their_column(conn: Conn, notes: Notes, attempt: int) -> None:
    """A job at the limit of its attempts fails as any other."""
    async with past_the_door(conn):
        (place,) = await put(conn, attempt=attempt)
    who = await hire(conn)
    (job,) = opened(await take(conn, who))
    assert await settle_each(conn, who, notes, conclude(job, Raised(ValueError()), AGAIN)) == 1
    assert await states(conn) == {place: "retrying" if attempt < 0 else "failed"}
    assert await ask(conn, "select attempt from fastq.job") == [(1 if attempt < 0 else MOST_ATTEMPT,)]
    assert notes == []


@pytest.mark.parametrize("goes", [failed, later])
async def test_an_id_that_stands_twice(conn: Conn, notes: Notes, goes: Any) -> None:
    """The second one is kept under a new id, with its arguments and the reason."""
    for n in (1, 2):
        await conn.execute(
            "insert into fastq.ready_0 (id, task, payload) values (7, 't', json_build_object('n', %s::int))", [n]
        )
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    assert await settle_each(conn, who, notes, goes(lease, 0), goes(lease, 1)) == 2
    rows = await ask(conn, "select id = 7, state, payload->>'n' from fastq.job order by 3")
    assert rows == [(True, "failed" if goes is failed else "retrying", "1"), (False, "failed", "2")]
    assert "duplicate key" in notes.reasons[0]


async def test_an_id_that_is_kept_already(conn: Conn, notes: Notes) -> None:
    """A job whose id stands in finished fails under another one."""
    for _ in range(2):
        await conn.execute("insert into fastq.ready_0 (id, task) values (7, 't')")
        who = await hire(conn)
        lease = (await take(conn, who)).lease
        assert await settle_each(conn, who, notes, failed(lease)) == 1
    assert await ask(conn, "select count(*), count(distinct id) from fastq.finished") == [(2, 2)]


async def test_what_postgresql_cannot_take_apart_any_more(conn: Conn, notes: Notes) -> None:
    """A payload as deep as the server's stack fits alone, not within its batch: it is kept as text, the others go."""
    depth = await deepest(conn)
    await put(conn, '{"n":1}')
    await put(conn, "[" * depth + "]" * depth)
    await put(conn, '{"n":3}')
    who, dead = await hire(conn), await hire(conn)
    lease = (await take(conn, who, limit=2)).lease
    with pytest.raises(psycopg.errors.StatementTooComplex):
        await settling.settle(conn, shard=0, worker=who, settlements=[back(lease, 0)])
    assert await settle_each(conn, who, notes, back(lease, 0), failed(lease, 1)) == 2
    rows = await ask(conn, "select state, json_typeof(payload) from fastq.job order by 1")
    assert rows == [("failed", "string"), ("ready", "object"), ("ready", "object")]
    assert notes == []
    await conn.execute("delete from fastq.ready")
    await put(conn, '{"n":1}', "[" * depth + "]" * depth)
    await take(conn, dead)
    end = Died(ran=False, cause="x")
    assert await reap.reap(conn, shard=0, worker=dead, verdict=lambda job: conclude(job, end)) == 2
    assert await ask(conn, "select json_typeof(payload) from fastq.ready order by 1") == [("object",), ("string",)]


async def deepest(conn: Conn) -> int:
    """Return how deeply a payload may be nested for its row to be taken, but not for its batch to be taken apart."""
    low, high = 1000, 200_000
    while high - low > 1:
        depth = (low + high) // 2
        try:
            async with conn.transaction(force_rollback=True):
                await put(conn, "[" * depth + "]" * depth)
            low = depth
        except psycopg.errors.StatementTooComplex:
            high = depth
    return low


async def test_a_lease_that_is_no_json_is_one_failed_job(conn: Conn, notes: Notes) -> None:
    """Of a dead worker's leases those that can be read go back; what no claim wrote is kept, with its text."""
    (place,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)
    await conn.execute(
        "insert into fastq.lease (segment, shard, id, worker, queue, priority, group_key, batch)"
        " values (0, 0, 1, %s, 'q', 4, '', 'rubbish')",
        [who],
    )
    end = Died(ran=False, cause="x")
    assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=notes) == 2
    assert await states(conn) == {place: "ready", 0: "failed"}
    assert await ask(conn, "select payload #>> '{}' from fastq.finished") == [("rubbish",)]
    assert notes == []


# -- constraints and triggers


@pytest.mark.parametrize("table", ["ready", "scheduled"])
@pytest.mark.parametrize("many", [1, 40])
async def test_what_a_table_refuses_is_kept_as_failed(conn: Conn, notes: Notes, table: str, many: int) -> None:
    """One of many that a trigger or a constraint does not let in; the others are written where they should go."""
    await put(conn, *["{}"] * many)
    (bad,) = await put(conn, '{"a":1}', task="bad", meta='{"headers":{"h":1}}')
    await put(conn, *["{}"] * many)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    made = back if table == "ready" else later
    async with refusing(conn, table, why="not this one"):
        tried = [made(lease, ordinal, id=1) for ordinal in range(2 * many + 1)]
        assert await settle_each(conn, who, notes, *tried) == 2 * many + 1
    assert (await states(conn))[bad] == "failed"
    assert await ask(conn, f"select count(*) from fastq.{table}") == [(2 * many,)]
    ((message, payload),) = await ask(conn, "select meta->'errors'->-1->>'message', payload::text from fastq.finished")
    assert "could not be written: not this one" in message
    assert payload == '{"a":1}'


async def test_what_no_table_takes_stays_in_its_lease(conn: Conn, notes: Notes) -> None:
    """Nothing is lost: its neighbours go, and it follows as soon as it can."""
    places = await put(conn, "{}")
    places += await put(conn, task="bad")
    places += await put(conn, "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    tried = [failed(lease, ordinal, id=places[ordinal]) for ordinal in range(3)]
    async with refusing(conn, "finished", why="nothing goes here"):
        assert await settle_each(conn, who, notes, *tried) == 2
        assert await states(conn) == {places[0]: "failed", places[1]: "running", places[2]: "failed"}
        assert [written for _, _, written in notes] == [None]
        end = Died(ran=True, cause="x", max_crashes=1)
        assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=notes) == 0
        assert await ask(conn, "select id from fastq.worker") == [(who,)]
    assert await reap.reap(conn, shard=0, worker=who, verdict=lambda job: conclude(job, end), note=notes) == 1
    assert await states(conn) == dict.fromkeys(places, "failed")
    assert await ask(conn, "select id from fastq.worker") == []


async def test_where_everything_is_refused_the_jobs_are_not_at_fault(conn: Conn, notes: Notes) -> None:
    """A trigger that lets nothing in is an error of the database, not one of a hundred jobs."""
    await put(conn, *["{}"] * (settling.STUCK_MOST + 20))
    who = await hire(conn)
    lease = (await take(conn, who, limit=1000)).lease
    tried = [failed(lease, ordinal) for ordinal in range(settling.STUCK_MOST + 20)]
    async with refusing(conn, "finished", when="true"):
        with pytest.raises(psycopg.errors.RaiseException):
            await settle_each(conn, who, notes, *tried)
    assert len(notes) == settling.STUCK_MOST - 1


async def test_a_success_whose_key_or_line_cannot_be_let_go_is_one(conn: Conn, notes: Notes) -> None:
    """The next job of an ordered group is malformed: the one before it is done all the same."""
    await conn.execute("insert into fastq.head (shard, queue, group_key, job) values (0, 'default', 'g', 7)")
    await conn.execute(
        "insert into fastq.line (shard, pos, queue, group_key, task) values (0, 9, 'default', 'g', 'bad')"
    )
    await conn.execute(
        "insert into fastq.ready_0 (id, group_key, task, meta) values (7, 'g', 't', '{\"ordered\":\"skip\"}')"
    )
    who = await hire(conn)
    (job,) = opened(await take(conn, who, lane=LANE._replace(group_key="g")))
    async with refusing(conn, "ready"):
        assert await settle_each(conn, who, notes, conclude(job, Succeeded())) == 1
    assert await ask(conn, "select id, state from fastq.job") == [(9, "waiting")]
    assert len(notes) == 1


async def test_mending_leaves_what_can_be_read_alone(conn: Conn) -> None:
    """A lease is written again only where something in it cannot be decoded."""
    await put(conn, "{}", '{"a":"\\ud800"}')
    who = await hire(conn)
    first, second = await take(conn, who, limit=1), await take(conn, who, limit=1)
    before = await ask(conn, "select id, xmin::text from fastq.lease where id = %s", first.lease)
    assert await leases.repair(conn, shard=0, worker=who) == 1
    assert await ask(conn, "select id, xmin::text from fastq.lease where id = %s", first.lease) == before
    (held,) = [held for held in await leases.list_leases(conn, shard=0, worker=who) if held.lease == second.lease]
    assert packed.decode(held.claimed.batch or b"")[0][0][4] == '{"a":"\\ud800"}'
    assert await leases.repair(conn, shard=0, worker=who) == 0
    assert (await upkeep.promote(conn, shard=0)).jobs == 0
