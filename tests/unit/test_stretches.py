"""Where a look beyond what is known goes."""

from __future__ import annotations

import random

import pytest

from fastq.protocol.claim import Lane
from fastq.protocol.stretches import BEYOND_ALL, Stretch, again, beyond

pytestmark = pytest.mark.unit

QUEUES = ("", "a", "a\x01", "aa", "b", "é", "\U0001f600")
GROUPS = ("", "\x01", "g", "gg", "\U0001f600")


def holds(stretch: Stretch, segment: int, queue: str, priority: int, group: str, pos: int) -> bool:
    """Whether a job's place lies in a stretch, judged as the statement does: by the one end that is given."""
    if stretch.segment != segment or (queue, priority, group, pos) <= (*stretch.start, stretch.low):
        return False
    if stretch.queue is not None:
        return queue < stretch.queue
    if stretch.priority is not None:
        return queue == stretch.start.queue and priority < stretch.priority
    if stretch.group is not None:
        return (queue, priority) == stretch.start[:2] and group < stretch.group
    assert stretch.high is not None
    return (queue, priority, group) == stretch.start and pos < stretch.high


@pytest.mark.parametrize("seed", range(40))
def test_what_is_not_known_lies_in_one_stretch(seed: int) -> None:
    """Every place of a queue taken from lies in exactly one stretch, but for what lies before marks: in none."""
    rng = random.Random(seed)

    def place() -> tuple[str, int, str]:
        return rng.choice(QUEUES), rng.choice((0, 4, 5, 9)), rng.choice(GROUPS)

    marks = {(rng.randrange(2), *place()): rng.choice((1000, BEYOND_ALL)) for _ in range(rng.randrange(12))}
    queues = rng.sample(QUEUES, rng.choice((0, 0, 2, 4)))
    exclude = [] if queues else rng.sample(QUEUES, rng.choice((0, 2)))
    known = {Lane(0, *key): mark for key, mark in marks.items()} | {Lane(1, 0, "a", 4, ""): 7}
    stretches = list(beyond(known, [0], queues, exclude))
    for _ in range(400):
        segment, (queue, priority, group), pos = rng.randrange(3), place(), rng.choice((-5, 999, 1001))
        mine = queue in queues if queues else queue not in exclude
        new = mine and pos > marks.get((segment, queue, priority, group), -BEYOND_ALL)
        found = [one for one in stretches if holds(one, segment, queue, priority, group, pos)]
        assert len(found) == new, (segment, queue, priority, group, pos, found)


def test_a_look_back_ends_where_it_is_told() -> None:
    """It takes in the last position and nothing behind it, and leaves out other shards."""
    lane = Lane(0, 2, "a", 4, "g")
    (stretch,) = again({lane: (5, 9), Lane(1, 2, "a", 4, "g"): (5, 9)}, [0])
    assert [pos for pos in range(12) if holds(stretch, 2, "a", 4, "g", pos)] == [6, 7, 8, 9]
