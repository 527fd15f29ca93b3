"""Finding the lanes that have jobs."""

from __future__ import annotations

import pytest
from scene import LANE, Conn, hire, put, take

from fastq.protocol import discover as looking
from fastq.protocol.claim import Lane, Tasks
from fastq.protocol.discover import Window
from fastq.protocol.stretches import BEYOND_ALL
from fastq.worker.lanes import Lanes

pytestmark = pytest.mark.protocol

Found = list[tuple[Lane, int]]


async def discover(conn: Conn, *queues: str, exclude: str = "", tasks: str = "", limit: int = 256) -> Found:
    """Discover with the arguments that a test is about."""
    found = await looking.discover(
        conn, shard=0, queues=queues, exclude=exclude.split(), tasks=Tasks(tasks.split() or None), limit=limit
    )
    return sorted(found, key=lambda pair: pair[1])


async def test_nothing_is_found_in_nothing(conn: Conn) -> None:
    """No jobs, no lanes; in both modes."""
    assert await discover(conn) == []
    assert await discover(conn, "default") == []


async def test_every_segment_and_the_first_position_of_each_lane(conn: Conn) -> None:
    """All segments are looked at, whatever the head is; each lane comes once, with the place of its first job."""
    lanes = [Lane(0, segment, queue, priority, group) for segment in range(4) for queue, priority, group in KINDS]
    firsts = [((await put(conn, "{}", "{}", "{}", lane=lane))[0]) for lane in lanes]
    expected = list(zip(lanes, firsts, strict=True))
    assert await discover(conn) == expected
    assert await discover(conn, "default", "mail") == expected


KINDS = [("default", 4, ""), ("default", 4, "g"), ("default", 0, ""), ("mail", 4, "")]


async def test_other_shards_are_left_out(conn: Conn) -> None:
    """Discovery looks at one shard."""
    await put(conn, lane=Lane(1, 0, "default", 4, ""))
    assert await discover(conn) == await discover(conn, "default") == []


async def test_paused_queues_are_left_out(conn: Conn) -> None:
    """A paused queue has no lanes, a resumed one has; its neighbours are not concerned."""
    mail, other = Lane(0, 1, "mail", 4, ""), Lane(0, 1, "other", 4, "")
    (first,), (second,) = await put(conn, lane=mail), await put(conn, lane=other)
    await conn.execute("insert into fastq.queue (name, paused) values ('mail', true), ('other', false)")
    assert await discover(conn) == await discover(conn, "mail", "other") == [(other, second)]
    await conn.execute("update fastq.queue set paused = false")
    assert await discover(conn) == [(mail, first), (other, second)]


async def test_excluded_queues_are_left_out(conn: Conn) -> None:
    """`exclude` hides queues; unlike a prefix match, only whole names."""
    lanes = [Lane(0, 0, queue, 4, "") for queue in ("a", "aa", "b")]
    for lane in lanes:
        await put(conn, lane=lane)
    assert [lane for lane, _ in await discover(conn, exclude="a b")] == [lanes[1]]


async def test_a_list_of_queues(conn: Conn) -> None:
    """With `queues` only these are found, in whatever order they were named, also when one of them is empty."""
    lanes = [Lane(0, 0, queue, 4, "") for queue in ("a", "aa", "b")]
    for lane in lanes:
        await put(conn, lane=lane)
    assert [lane for lane, _ in await discover(conn, "b", "none", "a")] == [lanes[0], lanes[2]]


async def test_unknown_tasks_do_not_count(conn: Conn) -> None:
    """A lane's first position is that of the first known task; a lane without one is not found."""
    await put(conn, task="strange")
    (second,) = await put(conn, task="known")
    await put(conn, task="strange", lane=Lane(0, 0, "strange", 4, ""))
    for queues in ([], ["default", "strange"]):
        assert await discover(conn, *queues, tasks="known") == [(LANE, second)]


async def test_many_queues(conn: Conn) -> None:
    """Hundreds of lanes come with one call, up to the limit."""
    await conn.execute("insert into fastq.ready_0 (queue, task) select 'q' || n, 't' from generate_series(1, 300) n")
    assert len(await discover(conn, limit=1000)) == 300
    assert len(await discover(conn)) == 256
    assert len(await discover(conn, *(f"q{n}" for n in range(1, 301)))) == 300


@pytest.mark.parametrize("column", ["queue", "group_key"])
async def test_no_lane_starves_behind_many_busy_ones(conn: Conn, column: str) -> None:
    """With 260 lanes that never run dry, each gives a job within a few rounds of all of them."""
    await conn.execute(
        f"insert into fastq.ready_0 ({column}, task) select 'n' || lpad(n::text, 3, '0'), 't'"
        " from generate_series(1, 260) n, generate_series(1, 3) again"
    )
    who, lanes, served, window = await hire(conn), Lanes({}), set(), Window()
    for _ in range(260 * 4 // 64):
        lanes.learn(await looking.discover(conn, shard=0, queues=[], exclude=[], window=window))
        for _ in range(64):
            lane, low = lanes.pick() or pytest.fail("no lane")
            got = await take(conn, who, lane=lane, low=low, limit=1)
            lanes.took(lane, got.hi, 1, dry=False)
            served.add((lane.queue, lane.group_key))
            await put(conn, lane=lane)
    assert len(served) == 260


async def test_a_stale_head_loses_nothing(conn: Conn) -> None:
    """A job that a producer with an old head in mind puts into a segment long left is found like any other."""
    await conn.execute("update fastq.ring set head = 3")
    lane = Lane(0, 1, "default", 4, "")
    (place,) = await put(conn, lane=lane)
    assert await discover(conn) == [(lane, place)]


async def beyond(conn: Conn, known: dict[Lane, int], *queues: str, exclude: str = "") -> Found:
    """Look beyond what is known."""
    found = await looking.discover_beyond(
        conn, shards=[0], queues=queues, exclude=exclude.split(), tasks=Tasks(["t", "known"]), known=known
    )
    return sorted(found, key=lambda pair: pair[1])


def group(key: str, segment: int = 0) -> Lane:
    """Return the lane of a group."""
    return Lane(0, segment, "default", 4, key)


async def test_groups_beside_those_that_are_known(conn: Conn) -> None:
    """The first one in each gap, in every segment, with a known task."""
    for lane in (group(""), group("b"), group("bb"), group("é", 1), group("c"), group("\U0001f600")):
        await put(conn, lane=lane)
    await put(conn, lane=group("a"), task="strange")
    for queues in ((), ("default",), ("other", "default", "zoo")):
        found = await beyond(conn, {group("b"): BEYOND_ALL}, *queues)
        assert [lane for lane, _ in found] == [group(""), group("bb"), group("é", 1)]
        known = [group(key) for key in ("", "b", "bb", "c", "\U0001f600")]
        assert await beyond(conn, dict.fromkeys([*known, group("é", 1)], BEYOND_ALL), *queues) == []
        found = await beyond(conn, dict.fromkeys([group("é"), group("c")], BEYOND_ALL), *queues)
        assert [lane for lane, _ in found] == [group(""), group("é", 1), group("\U0001f600")]


async def test_a_quiet_lane_is_looked_at_from_its_mark(conn: Conn) -> None:
    """What is known to be claimed is passed over; a job beyond the mark is found, and hides what stands behind it."""
    old, new = await put(conn, "{}", "{}", lane=group("a", 2))
    (later,) = await put(conn, lane=group("b", 2))
    assert await beyond(conn, {group("a", 2): old - 1}) == [(group("a", 2), old)]
    assert await beyond(conn, {group("a", 2): old}) == [(group("a", 2), new)]
    assert await beyond(conn, {group("a", 2): new}) == [(group("b", 2), later)]
    assert await beyond(conn, {group("a", 2): new, group("b", 2): later}) == []
    assert await beyond(conn, {group("a", 1): new, group("b", 2): later}) == [(group("a", 2), old)]


async def test_other_queues_and_priorities_beside_those_that_are_known(conn: Conn) -> None:
    """Of each queue that a worker takes from, and of no other."""
    lanes = [Lane(0, 0, *kind) for kind in (("a", 4, "g"), ("b", 0, ""), ("b", 4, ""), ("b", 9, "z"), ("c", 4, ""))]
    places = {lane: (await put(conn, lane=lane))[0] for lane in lanes}
    known = {Lane(0, 0, "b", 4, ""): BEYOND_ALL}

    async def found(*queues: str, exclude: str = "") -> list[int]:
        return [lanes.index(lane) for lane, first in await beyond(conn, known, *queues, exclude=exclude)]

    assert await found() == [0, 1, 3]
    assert await found("a", "b", "c") == [0, 1, 3, 4]
    assert await found("b") == [1, 3]
    assert await found(exclude="a") == [1, 3]
    assert await found(exclude="a b") == [4]
    assert await found(exclude="b c") == [0]
    assert dict(await beyond(conn, {}, "a", "c")) == {lane: places[lane] for lane in (lanes[0], lanes[4])}


async def test_beyond_leaves_out_other_shards_and_paused_queues(conn: Conn) -> None:
    """As discovery does; a lane of another shard does not stand for one of this."""
    await put(conn, lane=Lane(1, 0, "default", 4, ""))
    assert await beyond(conn, {}) == []
    (first,) = await put(conn, lane=LANE)
    assert await beyond(conn, {Lane(1, 0, "default", 4, ""): BEYOND_ALL}) == [(LANE, first)]
    await conn.execute("insert into fastq.queue (name, paused) values ('default', true)")
    assert await beyond(conn, {}) == []


async def test_the_horizon(conn: Conn) -> None:
    """It follows the places that are given out, also to those who have not committed yet."""
    before = await looking.read_horizon(conn)
    (place,) = await put(conn)
    assert before < await looking.read_horizon(conn) <= place
