"""Which lane to claim from next."""

from __future__ import annotations

from collections import Counter

import pytest

from fastq.protocol.claim import Lane
from fastq.protocol.stretches import BEYOND_ALL
from fastq.sql import SEGMENTS
from fastq.worker.lanes import MOST_LAG_S, MOST_QUIET, MOST_TURNS, Lanes, share_of

pytestmark = pytest.mark.unit


def lane(queue: str = "q", priority: int = 4, group: str = "", segment: int = 0) -> Lane:
    """Return a lane."""
    return Lane(0, segment, queue, priority, group)


def serve(lanes: Lanes, rounds: int, *, jobs: int = 1) -> Counter[Lane]:
    """Claim `rounds` times from lanes that never run dry; returns how many jobs each gave."""
    given: Counter[Lane] = Counter()
    for _ in range(rounds):
        picked = lanes.pick()
        assert picked is not None
        lanes.took(picked[0], picked[1] + jobs, jobs, dry=False)
        given[picked[0]] += jobs
    return given


def test_nothing_known() -> None:
    """Without discovery there is no lane, and no hunch."""
    lanes = Lanes({})
    assert (lanes.pick(), lanes.guess(0), len(lanes)) == (None, None, 0)


def test_low_marks() -> None:
    """A mark begins before the first job, follows the claims, and is moved back by discovery."""
    lanes, only = Lanes({}), lane()
    lanes.learn([(only, 100)])
    assert lanes.pick() == (only, 99)
    lanes.took(only, 150, 10, dry=False)
    assert lanes.pick() == (only, 150)
    lanes.learn([(only, 20)])
    assert lanes.pick() == (only, 19)


def test_a_dry_lane_is_quiet_until_more_is_found_in_it() -> None:
    """But it is where the next job is looked for when a doorbell rings."""
    lanes, only = Lanes({}), lane()
    lanes.learn([(only, 1)])
    lanes.took(only, 5, 5, dry=True)
    assert lanes.pick() is None
    assert lanes.guess(0) == (only, 5)
    lanes.took(only, 0, 0, dry=True)
    assert lanes.guess(0) == (only, 5)
    lanes.took(only, 9, 2, dry=False)
    assert (lanes.pick(), lanes.guess(0)) == ((only, 9), None)


def test_a_claim_that_gave_nothing_leaves_the_hunch() -> None:
    """The hunch is the lane that gave jobs last."""
    lanes, first, second = Lanes({}), lane("a"), lane("b")
    lanes.learn([(first, 1), (second, 2)])
    lanes.took(first, 9, 1, dry=True)
    lanes.took(second, 0, 0, dry=True)
    assert lanes.guess(0) == (first, 9)


def test_queues_share_by_weight() -> None:
    """A queue of weight 3 gets three jobs for each of a queue of weight 1, of any claim sizes."""
    lanes = Lanes({"mail": 3})
    mail, other = lane("mail"), lane("other")
    lanes.learn([(mail, 1), (other, 1)])
    given = serve(lanes, 400, jobs=10)
    assert abs(given[mail] - 3 * given[other]) <= 40


def test_large_claims_are_paid_for() -> None:
    """A queue that gave a large batch waits until the others have had as much."""
    lanes, big, small = Lanes({}), lane("a"), lane("b")
    lanes.learn([(big, 1), (small, 1)])
    lanes.took(big, 100, 100, dry=False)
    assert [serve(lanes, 1).popitem()[0] for _ in range(5)] == [small] * 5


def test_priority_is_strict_within_a_queue() -> None:
    """While there are urgent jobs, only these are claimed, from all groups."""
    lanes = Lanes({})
    urgent, normal, late = lane(priority=0, group="g"), lane(priority=4), lane(priority=9)
    lanes.learn([(late, 1), (normal, 2), (urgent, 3)])
    assert set(serve(lanes, 20)) == {urgent}
    lanes.took(urgent, 99, 1, dry=True)
    assert set(serve(lanes, 20)) == {normal}


def test_groups_are_fair() -> None:
    """Of groups of one queue each gets the same number of jobs."""
    lanes = Lanes({})
    groups = [lane(group=f"g{n}") for n in range(5)]
    lanes.learn([(each, 1) for each in groups])
    assert set(serve(lanes, 100).values()) == {20}


def test_a_queue_that_was_idle_gets_no_arrears() -> None:
    """A queue that comes back, or a new one, shares from now on; it does not catch up."""
    lanes, old, new = Lanes({}), lane("old"), lane("new")
    lanes.learn([(old, 1)])
    serve(lanes, 1000)
    lanes.learn([(old, 1), (new, 1)])
    given = serve(lanes, 100)
    assert abs(given[old] - given[new]) <= 2


def test_discovery_does_not_forget_who_had_his_turn() -> None:
    """Rescanning between claims does not favour the first queue."""
    lanes, found = Lanes({}), [(lane("a"), 1), (lane("b"), 1), (lane("b", group="g"), 1)]
    given: Counter[str] = Counter()
    for _ in range(100):
        lanes.learn(found)
        given += Counter({key.queue: n for key, n in serve(lanes, 1).items()})
    assert given == {"a": 50, "b": 50}


def test_the_older_segment_first() -> None:
    """One line of jobs that is spread over segments is claimed in the order of its positions."""
    lanes, older, newer = Lanes({}), lane(segment=3), lane(segment=0)
    lanes.learn([(newer, 500), (older, 20)])
    assert lanes.pick() == (older, 19)
    lanes.took(older, 400, 10, dry=False)
    assert lanes.pick() == (older, 400)
    lanes.took(older, 500, 10, dry=True)
    assert lanes.pick() == (newer, 499)


def group(key: str) -> Lane:
    """Return the lane of a group of the usual queue."""
    return lane(group=key)


def test_the_groups_beside_a_lane() -> None:
    """They share shard, segment, queue and priority; the least served come first, then those that wait longest."""
    lanes = Lanes({})
    others = [lane("b"), lane(priority=3, group="x"), lane(segment=1, group="x")]
    lanes.learn([(group("b"), 3), (group("a"), 7), (group("c"), 5), *((other, 1) for other in others)])
    assert lanes.beside(group("a"), 100) == [(group("b"), 2), (group("c"), 4), (group("a"), 6)]
    lanes.took(group("b"), 9, 4, dry=False)
    assert lanes.beside(group("a"), 100) == [(group("c"), 4), (group("a"), 6), (group("b"), 9)]


def test_a_lane_without_company_is_claimed_alone() -> None:
    """Jobs without groups never meet the claim of many."""
    lanes = Lanes({})
    lanes.learn([(lane(), 3)])
    assert not lanes.beside(lane(), 100)
    lanes.learn([(lane(), 3), (lane(priority=5), 4)])
    assert not lanes.beside(lane(), 100)


def test_a_claim_of_many_groups_that_came_short() -> None:
    """Those that gave less than their share are dry; the others are known up to their last position."""
    lanes = Lanes({})
    lanes.learn([(group(key), 1) for key in "abc"])
    lanes.took_groups(lanes.beside(group("a"), 100), 2, [("a", 1, 1), ("a", 4, 1), ("c", 3, 1)], stopped=False)
    assert lanes.pick() == (group("a"), 4)
    assert len(lanes) == 1
    assert lanes.guess(0) == (group("c"), 3)


def test_a_claim_of_many_groups_that_stopped() -> None:
    """Where it ended there may be more, and behind that nothing was looked at."""
    lanes = Lanes({})
    lanes.learn([(group(key), 1) for key in "abcd"])
    lanes.took_groups(lanes.beside(group("a"), 100), 2, [("b", 2, 1), ("b", 3, 1), ("c", 4, 1)], stopped=True)
    assert dict(lanes.beside(group("b"), 100)) == {group("b"): 3, group("c"): 4, group("d"): 0}


def test_a_big_group_and_small_ones_share_each_claim() -> None:
    """Where there are few groups, a claim is filled from all; where there are many, a small group goes whole."""
    assert share_of(500, 2) == 250
    assert share_of(500, 256) == 10
    assert share_of(5, 256) == 1
    assert share_of(64, 20) == 6


def test_a_newcomer() -> None:
    """A group that is met has had as many turns as the least served; what is known of the others stays."""
    lanes = Lanes({})
    lanes.learn([(group("big"), 1)])
    serve(lanes, 100, jobs=500)
    lanes.learn_more([(group("new"), 70_000)])
    assert lanes.known == {group("big"): BEYOND_ALL, group("new"): BEYOND_ALL}
    assert dict(lanes.beside(group("big"), 100)) == {group("big"): 50_000, group("new"): 69_999}
    assert serve(lanes, 4) == {group("big"): 2, group("new"): 2}


def test_memory_is_bounded_by_what_is_found() -> None:
    """Queues and groups that are gone are not remembered for ever."""
    lanes = Lanes({})
    for n in range(MOST_TURNS * 2 + 10):
        lanes.learn([(lane(f"q{n}", group=f"g{n}"), 1)])
        serve(lanes, 1)
    assert len(lanes) == 1
    assert len(lanes.known) == MOST_QUIET + 1
    assert len(lanes._queue_turns) <= MOST_TURNS + 1
    assert len(lanes._group_turns) <= MOST_TURNS + 1


def test_quiet_lanes_keep_their_marks() -> None:
    """A look beyond finds more in one, and it is claimed from there; a look from the beginning moves a mark back."""
    lanes, one, other = Lanes({}), lane("a"), lane("b")
    lanes.learn([(one, 1), (other, 2)])
    lanes.took(one, 40, 3, dry=True)
    assert lanes.known == {one: 40, other: BEYOND_ALL}
    lanes.learn_more([(one, 44)])
    assert dict(lanes.beside(one, 100) or [(one, lanes.known[one])]) == {one: BEYOND_ALL}
    lanes.took(other, 50, 1, dry=True)
    assert lanes.pick() == (one, 43)
    lanes.learn([(one, 7)])
    assert lanes.pick() == (one, 6)
    assert lanes.known == {one: BEYOND_ALL, other: 50}


def test_a_look_that_found_nothing_moves_marks_on() -> None:
    """So that a worker which was busy elsewhere does not walk over all that others have claimed meanwhile."""
    lanes, one, other = Lanes({}), lane("a"), lane("b")
    lanes.learn([(one, 1), (other, 1)])
    lanes.took(one, 40, 3, dry=True)
    lanes.learn([], 900)
    assert lanes.known == {lane(queue, segment=segment): 900 for queue in "ab" for segment in range(SEGMENTS)}
    lanes.learn([(other, 1000)], 800)
    assert lanes.known[other] == BEYOND_ALL
    assert {mark for each, mark in lanes.known.items() if each != other} == {900}


def test_what_was_claimed_lately() -> None:
    """Of each lane the stretch between what was the furthest mark then and its own now; late jobs move a mark back."""
    lanes, one, other = Lanes({}), lane("a"), lane("b")
    lanes.learn([(one, 1), (other, 1)])
    assert lanes.since(10.0, 1.0) == {}
    lanes.took(one, 500, 5, dry=False)
    lanes.took(other, 400, 4, dry=True)
    assert lanes.since(10.5, 1.0) == {one: (0, 500), other: (0, 400)}
    lanes.took(one, 900, 5, dry=True)
    assert lanes.since(11.2, 1.0) == {one: (500, 900)}
    assert lanes.since(11.3, 0.0) == {}
    lanes.learn_more([(one, 700)])
    assert lanes.pick() == (one, 699)
    lanes.learn_more([(one, 650), (other, 10)])
    assert (lanes.known, lanes.pick()) == ({one: BEYOND_ALL, other: BEYOND_ALL}, (other, 9))
    lanes.since(10.0 + 2 * MOST_LAG_S, 0.0)
    assert len(lanes._tops) == 1


def test_the_quiet_lanes_are_few() -> None:
    """Those that ran dry last are kept."""
    lanes = Lanes({})
    lanes.learn([(lane(f"q{n}"), 1) for n in range(2 * MOST_QUIET)])
    for n in range(2 * MOST_QUIET):
        lanes.took(lane(f"q{n}"), 5, 1, dry=True)
    assert lanes.known == {lane(f"q{n}"): 5 for n in range(MOST_QUIET, 2 * MOST_QUIET)}
    assert lanes.guess(0) == (lane(f"q{2 * MOST_QUIET - 1}"), 5)
