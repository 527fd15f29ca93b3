"""Finding the lanes that have jobs."""

from __future__ import annotations

import pytest
from scene import LANE, Conn, hire, put, take

from fastq.protocol import claim
from fastq.protocol.claim import Lane, Window
from fastq.worker.lanes import Lanes

pytestmark = pytest.mark.protocol

Found = list[tuple[Lane, int]]


async def discover(conn: Conn, *queues: str, exclude: str = "", unknown: str = "", limit: int = 256) -> Found:
    """Discover with the arguments that a test is about."""
    found = await claim.discover(
        conn, slot=0, queues=queues, exclude=exclude.split(), unknown=unknown.split(), limit=limit
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


async def test_other_slots_are_left_out(conn: Conn) -> None:
    """Discovery looks at one slot."""
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
        assert await discover(conn, *queues, unknown="strange odd") == [(LANE, second)]


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
        lanes.learn(await claim.discover(conn, slot=0, queues=[], exclude=[], unknown=[], window=window))
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


async def between(conn: Conn, *known: str) -> list[tuple[int, str]]:
    """Look for groups beside the known ones; returns segments and groups."""
    found = await claim.discover_between(conn, lane=LANE, known=known, unknown=["strange"])
    return sorted((lane.segment, lane.group_key) for lane, _ in found)


async def test_groups_beside_those_that_are_known(conn: Conn) -> None:
    """The first one in each gap, in every segment; of this queue and priority, with a known task."""
    for segment, group in [(0, ""), (0, "b"), (0, "bb"), (1, "é"), (0, "c"), (0, "\U0001f600")]:
        await put(conn, lane=Lane(0, segment, "default", 4, group))
    await put(conn, lane=Lane(0, 0, "default", 3, "a"))
    await put(conn, lane=Lane(0, 0, "other", 4, "a"))
    await put(conn, lane=Lane(0, 0, "default", 4, "a"), task="strange")
    assert await between(conn, "b") == [(0, ""), (0, "bb"), (1, "é")]
    assert await between(conn, "", "b", "bb", "c", "é", "\U0001f600") == []
    assert await between(conn, "é", "c") == [(0, ""), (0, "\U0001f600")]


async def test_the_place_of_a_new_group(conn: Conn) -> None:
    """A group comes with the position of its first job."""
    first, _ = await put(conn, "{}", "{}", lane=Lane(0, 2, "default", 4, "new"))
    found = await claim.discover_between(conn, lane=LANE, known=["old"], unknown=[])
    assert found == [(Lane(0, 2, "default", 4, "new"), first)]
