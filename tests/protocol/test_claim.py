"""Claims against a real PostgreSQL: order, limits, lanes, packing, the byte cap, acks on the way, the fence."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import orjson
import psycopg
import pytest
from scene import LANE, Conn, ask, hire, ids_of, jobs_of, put, put_many, states, take

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import claim, discover, leases, packed
from fastq.protocol.claim import Lane

pytestmark = pytest.mark.protocol

UNPACKED = "fastq.lease l cross join lateral fastq.unpack(l.batch, '{}', l.group_key) u where l.id = %s"
"""The jobs of one lease, as PostgreSQL takes it apart."""


def untouched(job: LeasedJob) -> Settlement:
    """Give a dead worker's job back uncharged."""
    return conclude(job, Died(ran=False, cause="SIGKILL"))


@pytest.fixture
async def crowd(dsn: str) -> AsyncIterator[list[psycopg.AsyncConnection[Any]]]:
    """Give four more connections."""
    opened = [await psycopg.AsyncConnection.connect(dsn, autocommit=True) for _ in range(4)]
    yield opened
    for each in opened:
        await each.close()


# -- order, limit, mark, lanes


async def test_order_of_position(conn: Conn) -> None:
    """Jobs come in the order of their positions, whatever the order in which they were inserted."""
    for pos in (30, 10, 20):
        await conn.execute("insert into fastq.ready_0 (pos, task) values (%s, 't')", (pos,))
    assert ids_of(await take(conn, await hire(conn))) == [10, 20, 30]


async def test_limit_and_low_mark(conn: Conn) -> None:
    """A claim takes `limit` jobs beyond `low` and says how far it came."""
    places = await put(conn, *["{}"] * 5)
    who = await hire(conn)
    first = await take(conn, who, limit=2)
    assert (ids_of(first), first.hi) == (places[:2], places[1])
    assert ids_of(await take(conn, who, low=places[2])) == places[3:]
    assert ids_of(await take(conn, who, low=0)) == [places[2]]


async def test_nothing_to_claim(conn: Conn) -> None:
    """An empty lane gives no lease, no batch, and no row in `lease`."""
    got = await take(conn, await hire(conn))
    assert (got.lease, got.batch, got.hi, got.acked, got.alive) == (0, None, 0, [], True)
    assert not await ask(conn, "select id from fastq.lease")


@pytest.mark.parametrize(
    "neighbour",
    [
        Lane(0, 0, "else", 4, ""),
        Lane(0, 0, "default", 5, ""),
        Lane(0, 0, "default", 4, "g"),
        Lane(0, 1, "default", 4, ""),
        Lane(1, 0, "default", 4, ""),
    ],
    ids=["queue", "priority", "group", "segment", "shard"],
)
async def test_lanes_are_apart(conn: Conn, neighbour: Lane) -> None:
    """A claim never reaches over into a lane that differs in one thing only."""
    (mine,), (theirs,) = await put(conn), await put(conn, lane=neighbour)
    who = await hire(conn, shards=2)
    assert ids_of(await take(conn, who)) == [mine]
    assert ids_of(await take(conn, who)) == []
    assert ids_of(await take(conn, who, lane=neighbour)) == [theirs]


async def test_the_lease_remembers_the_lane(conn: Conn) -> None:
    """Queue, priority and group stand in the lease, since a job that goes back needs them."""
    lane = Lane(0, 2, "mail", 7, "acme")
    await put(conn, lane=lane)
    who = await hire(conn)
    got = await take(conn, who, lane=lane)
    rows = await ask(conn, "select id, worker, queue, priority, group_key, done from fastq.lease")
    assert rows == [(got.lease, who, "mail", 7, "acme", [])]


async def test_unknown_tasks_stay(conn: Conn) -> None:
    """Tasks that the worker does not know are left where they are, also between others."""
    (a,), (b,), (c,) = await put(conn, task="a"), await put(conn, task="b"), await put(conn, task="c")
    who = await hire(conn)
    assert ids_of(await take(conn, who, tasks=["a", "c"])) == [a, c]
    assert (await states(conn))[b] == "ready"
    assert ids_of(await take(conn, who)) == [b]


# -- several at once


async def test_concurrent_claimers_never_share_a_job(conn: Conn, crowd: list[Conn]) -> None:
    """Four claimers on one lane get every job, each once."""
    await put_many(conn, 2000)
    who = await hire(conn)

    async def drain(own: Conn, limit: int) -> list[int]:
        got: list[int] = []
        while batch := ids_of(await take(own, who, limit=limit)):
            got += batch
        return got

    shares = await asyncio.gather(*(drain(own, limit) for own, limit in zip(crowd, (7, 13, 31, 50), strict=True)))
    # A claimer that met only locked rows stopped early; what is left is still claimable.
    rest = await drain(conn, 100)
    taken = list(itertools.chain(*shares, rest))
    assert len(taken) == len(set(taken)) == 2000
    assert not await ask(conn, "select pos from fastq.ready")


async def test_jobs_locked_by_a_claim_in_flight_are_skipped(conn: Conn, other: Conn) -> None:
    """While one claim's transaction is open, another goes round its jobs; rolled back, they are claimable again."""
    places = await put(conn, *["{}"] * 4)
    who = await hire(conn)
    async with other.transaction(force_rollback=True):
        assert ids_of(await take(other, who, limit=2)) == places[:2]
        assert ids_of(await take(conn, who)) == places[2:]
    assert ids_of(await take(conn, who)) == places[:2]


async def test_a_late_commit_behind_the_mark_is_found_from_zero(conn: Conn, other: Conn) -> None:
    """A job whose position was taken early but committed late is claimable, though behind a worker's mark."""
    who = await hire(conn)
    async with other.transaction():
        (early,) = await put(other)
        (late,) = await put(conn)
        assert ids_of(await take(conn, who)) == [late]
    assert ids_of(await take(conn, who, low=late)) == []
    found = await discover.discover(conn, shard=0, queues=[], exclude=[])
    assert found == [(LANE, early)]
    assert ids_of(await take(conn, who, low=early - 1)) == [early]


# -- packing


TRAPS = [
    "{}",
    r'{"a":"\u0000"}',
    r'{"a":"\ud800"}',
    r'{"a":"\udc00 and \ud83d\ude00"}',
    '{"a":1e999}',
    '{"a":' + "9" * 400 + "}",
    '{"a":' + "[" * 3000 + "]" * 3000 + "}",
    '{ "a" :\n 1 ,"a":\t2}',
    '{"\\u0000":"\\\\\\"\\t"}',
    '{"ü":"\U0001f600 \u2028"}',
    "[1]",
    "null",
    '"text"',
]


@pytest.mark.parametrize("task", ["it's", 'sa"id', "back\\slash", "new\nline", "tab\t", "тест\U0001f600", "]],[["])
async def test_odd_task_names_survive_packing(conn: Conn, task: str) -> None:
    """SQL producers may name a task anything; the batch stays decodable and says the same name."""
    await put(conn, '{"a":1}', task=task, meta='{"headers":{"h":"\\"]"}}')
    got = await take(conn, await hire(conn))
    assert [row[1] for row in jobs_of(got)] == [task]
    ((named, meta),) = await ask(conn, f"select u.task, u.meta::text from {UNPACKED}", got.lease)
    assert (named, meta) == (task, '{"headers":{"h":"\\"]"}}')
    assert packed.repaired(got.batch or b"") is None


async def test_odd_lane_names_survive(conn: Conn) -> None:
    """Queue and group names with quotes, backslashes and newlines are one lane like any other."""
    lane = Lane(0, 3, "q'\"\\\n,{}", 0, "g\\\t%s")
    (place,) = await put(conn, lane=lane)
    ((found, first),) = await discover.discover(conn, shard=0, queues=[], exclude=[])
    assert (found, first) == (lane, place)
    ((found, _),) = await discover.discover(conn, shard=0, queues=[lane.queue], exclude=[])
    assert ids_of(await take(conn, await hire(conn), lane=found)) == [place]


@pytest.mark.parametrize("payload", TRAPS, ids=range(len(TRAPS)))
async def test_one_odd_payload_leaves_its_batch_decodable_singly(conn: Conn, payload: str) -> None:
    """Whatever PostgreSQL's json accepts, the neighbours of such a job can be read, and it itself as it was written."""
    await put(conn, '{"n":1}', payload, '{"n":3}')
    got = await take(conn, await hire(conn))
    loose = await ask(conn, f"select u.payload::text, u.ord from {UNPACKED} order by u.ord", got.lease)
    assert [row[0] for row in loose] == ['{"n":1}', payload, '{"n":3}']
    assert [row[1] for row in loose] == [0, 1, 2]
    rows, bad = packed.decode(got.batch or b"")
    assert [rows[0][4], rows[2][4]] == [{"n": 1}, {"n": 3}]
    try:
        decoded = orjson.loads(payload)
    except orjson.JSONDecodeError:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(got.batch or b"")
        assert "the payload cannot be decoded" in bad[1]
        assert orjson.loads(packed.repaired(got.batch or b"") or b"")[1][4] == payload
    else:
        assert jobs_of(got)[1][4] == decoded
        assert not bad
    assert len(await states(conn)) == 3


def deep(depth: int) -> str:
    """Return an object that holds so many arrays, one in the other."""
    return '{"a":' + "[" * depth + "]" * depth + "}"


async def test_the_deepest_json_does_not_take_its_batch_down(conn: Conn) -> None:
    """A payload as deep as the server accepts leaves its neighbours readable, and can be settled."""
    low, high = 1000, 200_000
    while high - low > 1:
        depth = (low + high) // 2
        try:
            await conn.execute("select fastq.enqueue('t', %s, queue => 'probe')", [deep(depth)])
            low = depth
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.StatementTooComplex):
            high = depth
    await conn.execute("delete from fastq.ready")
    await put(conn, "{}", deep(low))
    got = await take(conn, await hire(conn))
    assert await ask(conn, f"select count(*) from {UNPACKED}", got.lease) == [(2,)]
    assert packed.decode(got.batch or b"")[1].keys() == {1}


async def test_a_job_that_came_back_brings_id_attempt_and_meta(conn: Conn) -> None:
    """The longer form of a packed job: position, then id and meta behind the payload."""
    await conn.execute(
        "insert into fastq.ready_0 (pos, id, task, attempt, enqueued_ms, payload, meta)"
        """ values (50, 7, 't', 2, 123, '{"a":1}', '{"errors":[]}'), (51, null, 't', 0, 124, '{}', null),"""
        " (52, 8, 't', 0, 125, '{}', null), (53, null, 't', 0, 126, '{}', '{}')"
    )
    assert jobs_of(await take(conn, await hire(conn))) == [
        [50, "t", 2, 123, {"a": 1}, 7, {"errors": []}],
        [51, "t", 0, 124, {}],
        [52, "t", 0, 125, {}, 8, None],
        [53, "t", 0, 126, {}, None, {}],
    ]


# -- the byte cap


async def test_byte_cap_cuts_the_batch(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends before it passes the cap; what is cut off is claimable at once, from where the batch ended."""
    monkeypatch.setattr(claim, "MAX_BATCH_BYTES", 1000)
    places = await put(conn, *['{"a":"' + "x" * 300 + '"}'] * 5)
    who = await hire(conn)
    first = await take(conn, who)
    assert (ids_of(first), first.hi, first.more) == (places[:3], places[2], True)
    rest = await take(conn, who, low=first.hi)
    assert (ids_of(rest), rest.more) == (places[3:], False)


async def test_a_job_larger_than_the_cap_comes_alone(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first job always comes, so that nothing is too large to be run."""
    monkeypatch.setattr(claim, "MAX_BATCH_BYTES", 100)
    places = await put(conn, '{"a":"' + "x" * 900 + '"}', "{}")
    who = await hire(conn)
    assert ids_of(await take(conn, who)) == places[:1]
    assert ids_of(await take(conn, who)) == places[1:]


async def test_byte_cap_counts_what_travels(conn: Conn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads that compress well are counted as large as they are in the batch."""
    monkeypatch.setattr(claim, "MAX_BATCH_BYTES", 100_000)
    await put(conn, *['{"a":"' + "x" * 50_000 + '"}'] * 10)
    got = await take(conn, await hire(conn))
    assert got.batch is not None
    assert len(got.batch) < 200_000


# -- acks on the way


async def test_acks_ride_along(conn: Conn) -> None:
    """A claim deletes finished leases and reports those that were there, whether or not it finds jobs."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    first = await take(conn, who, limit=1)
    second = await take(conn, who, limit=1, acks=[first.lease, 999])
    assert second.acked == [first.lease]
    last = await take(conn, who, acks=[first.lease, second.lease])
    assert (last.acked, last.batch) == ([second.lease], None)
    assert not await ask(conn, "select id from fastq.lease")


async def test_only_own_leases_are_acknowledged(conn: Conn) -> None:
    """A lease of another worker is neither deleted nor reported."""
    await put(conn)
    mine, theirs = await hire(conn), await hire(conn)
    got = await take(conn, theirs)
    assert (await take(conn, mine, acks=[got.lease])).acked == []
    assert await ask(conn, "select id from fastq.lease") == [(got.lease,)]


# -- what the database believes


async def test_leases_whose_answer_was_lost_are_listed(conn: Conn) -> None:
    """A lease in which nothing is done can be taken up again from the database, with its lane and its jobs."""
    lane = Lane(0, 0, "mail", 2, "g")
    await put(conn, "{}", "{}", lane=lane)
    mine, theirs = await hire(conn), await hire(conn)
    got, _ = await take(conn, mine, lane=lane, limit=1), await take(conn, theirs, lane=lane, limit=1)
    (held,) = await leases.list_leases(conn, shard=0, worker=mine)
    assert (held.lease, held.lane, held.claimed.batch) == (got.lease, lane, got.batch)


async def test_a_job_is_claimed_by_who_has_its_task(conn: Conn) -> None:
    """By a name that is compared, or by one that is looked up; a thousand other names in front do not count."""
    await conn.execute("insert into fastq.ready_0 (task) select 'stranger.' || n from generate_series(1, 1000) n")
    (compared,), (looked_up,) = await put(conn, task="a"), await put(conn, task="b")
    who = await hire(conn)
    lease = (await claim.take_lease_ids(conn)).start
    got = await claim.claim(
        conn, lane=LANE, worker=who, lease=lease, low=0, limit=10, acks=[], tasks=claim.Tasks(["a"], ["a", "b", "c"])
    )
    assert ids_of(got) == [compared, looked_up]
    assert await ask(conn, "select count(*) from fastq.ready") == [(1000,)]
