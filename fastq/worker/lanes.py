"""Which lane to claim from next, and from what position on. Pure, but for the clock.

A lane's mark is the position up to which this worker has claimed, so that a claim never walks the dead entries before
it. A lane that has run dry is kept, with its mark, as a quiet one: jobs that come are looked for from there on. Rows
can appear behind a mark (a transaction that committed late): discovery, which starts from zero, finds them and moves
the mark back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter
from time import monotonic
from typing import TypeVar

from fastq.protocol.claim import Lane
from fastq.protocol.stretches import BEYOND_ALL
from fastq.sql import SEGMENTS

T = TypeVar("T")


MOST_TURNS = 10_000
MOST_QUIET = 64
QUIET_PER_SHARD = 16
"""So many lanes are remembered that have run dry; where there are many shards, so many of each."""

STAY_S = 0.05
"""So long a worker stays with a shard while others have jobs, too: acks of a shard's leases ride on its claims."""

MOST_LAG_S = 10.0
"""So far back a look goes for what was committed late; what comes later still is found from the beginning."""

SHARE = 10
"""Most jobs of one group in a claim of many, unless the others are too few to fill it."""

Groups = Sequence[tuple[Lane, int]]
"""Lanes that differ by their group alone, each with its low mark."""


def share_of(limit: int, groups: int) -> int:
    """Return how many jobs of each of so many groups a claim of `limit` jobs takes: all of small groups."""
    return max(-(-limit // groups), min(SHARE, limit // SHARE))


def _before(position: int) -> int:
    """Return the mark before a position, which may be any that the column holds."""
    return max(position - 1, -BEYOND_ALL - 1)


def _seat(turns: dict[T, float], present: set[T]) -> None:
    """Let those present take part: a newcomer, or one who comes back, has had as many turns as the least served."""
    if len(turns) > MOST_TURNS:
        for gone in turns.keys() - present:
            del turns[gone]
    floor = min((turns[one] for one in present if one in turns), default=0.0)
    for one in present:
        turns[one] = max(floor, turns.get(one, floor))


class Lanes:
    """The lanes known to have jobs. Queues share by weight; within one, priority is strict and groups are fair."""

    def __init__(self, weights: Mapping[str, int], clock: Callable[[], float] = monotonic) -> None:
        self._weights = weights
        self._clock = clock
        self._shard, self._leave_at = 0, 0.0
        self._quiet_most = MOST_QUIET
        self._low: dict[Lane, int] = {}
        self._quiet: dict[Lane, int] = {}
        self._queue_turns: dict[str, float] = {}
        self._group_turns: dict[tuple[str, str], float] = {}
        self._last: Lane | None = None
        self._tops: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._low)

    def learn(self, found: Iterable[tuple[Lane, int]], horizon: int = 0) -> None:
        """Replace what is known by what discovery found: lanes with the position of their first job.

        Before the position `horizon` there is nothing else, but for what will be committed late: neither in lanes that
        were known, nor in other segments of those without a group.
        """
        marks = {**self._quiet, **self._low}
        self._low = {lane: _before(first) for lane, first in found}
        if horizon:
            plain = {lane._replace(segment=0) for lane in (*marks, *self._low) if not lane.group_key}
            others = (lane._replace(segment=segment) for lane in plain for segment in range(SEGMENTS))
            marks = {**dict.fromkeys(others, 0), **marks}
        quiet = [(lane, max(mark, horizon)) for lane, mark in marks.items() if lane not in self._low]
        self._quiet_most = max(MOST_QUIET, QUIET_PER_SHARD * len({lane.shard for lane in marks}))
        self._quiet = dict(quiet[-self._quiet_most :])
        _seat(self._queue_turns, {lane.queue for lane in self._low})
        _seat(self._group_turns, {(lane.queue, lane.group_key) for lane in self._low})

    def pick(self) -> tuple[Lane, int] | None:
        """Return the lane to claim from and its low mark, or None when no lane is known to have jobs."""
        if not self._low:
            return None
        if len(self._low) == 1:
            return next(iter(self._low.items()))
        queue = min({lane.queue for lane in self._low}, key=lambda q: (self._queue_turns.get(q, 0.0), q))
        mine = [lane for lane in self._low if lane.queue == queue]
        urgent = min(lane.priority for lane in mine)
        here = self._shard if self._clock() < self._leave_at else None
        lane = min(
            (lane for lane in mine if lane.priority == urgent),
            key=lambda lane: (self._group_turns.get((queue, lane.group_key), 0.0), lane.shard != here, self._low[lane]),
        )
        return lane, self._low[lane]

    def beside(self, lane: Lane, most: int) -> Groups:
        """Return the groups that can be claimed from with this lane, itself included: the `most` least served first."""
        if len(self._low) == 1:
            return ()
        place = (lane.shard, lane.segment, lane.queue, lane.priority)
        served = self._group_turns
        groups = [
            (served.get((lane.queue, other.group_key), 0.0), low, other)
            for other, low in self._low.items()
            if (other.shard, other.segment, other.queue, other.priority) == place
        ]
        if len(groups) <= 1:
            return ()
        return [(other, low) for _, low, other in nsmallest(most, groups, key=itemgetter(0, 1))]

    @property
    def known(self) -> dict[Lane, int]:
        """All lanes with the positions from which on jobs would be new: nothing is, in a lane that is claimed from."""
        return {**self._quiet, **dict.fromkeys(self._low, BEYOND_ALL)}

    def since(self, now: float, lag_s: float) -> dict[Lane, tuple[int, int]]:
        """Return for all lanes what was claimed in the last `lag_s` seconds, positions from behind and up to.

        What was committed late stands there: positions are given out in order, to all lanes from one row of them.
        """
        marks = {**self._quiet, **self._low}
        self._tops.append((now, max(marks.values(), default=0)))
        while self._tops[0][0] < now - MOST_LAG_S:
            self._tops.popleft()
        top = next(top for at, top in self._tops if at >= now - lag_s)
        return {lane: (top, mark) for lane, mark in marks.items() if top < mark}

    def learn_more(self, found: Iterable[tuple[Lane, int]]) -> None:
        """Learn of more lanes, and of jobs behind their marks; what is known of the others stays."""
        for lane, first in found:
            self._quiet.pop(lane, None)
            self._low[lane] = min(self._low.get(lane, BEYOND_ALL), _before(first))
        _seat(self._queue_turns, {lane.queue for lane in self._low})
        _seat(self._group_turns, {(lane.queue, lane.group_key) for lane in self._low})

    def guess(self, shard: int) -> tuple[Lane, int] | None:
        """Return the lane like the one that gave jobs last: a doorbell's new job most likely stands there."""
        if self._last is None or (lane := self._last._replace(shard=shard)) not in self._quiet:
            return None
        return lane, self._quiet[lane]

    def took(self, lane: Lane, hi: int, jobs: int, *, dry: bool) -> None:
        """Note that a claim gave `jobs` jobs up to `hi`; a `dry` lane is quiet until more is found in it."""
        weight = self._weights.get(lane.queue, 1)
        self._queue_turns[lane.queue] = self._queue_turns.get(lane.queue, 0.0) + jobs / weight
        group = (lane.queue, lane.group_key)
        self._group_turns[group] = self._group_turns.get(group, 0.0) + jobs
        if jobs:
            self._last = lane
        self._stay_in(lane.shard)
        self._go_on(lane, hi, dry=dry)

    def leave(self, shard: int) -> None:
        """Forget the lanes of a shard that is away."""
        for lane in [lane for lane in self._low if lane.shard == shard]:
            del self._low[lane]

    def _stay_in(self, shard: int) -> None:
        if shard != self._shard or self._clock() >= self._leave_at:
            self._shard, self._leave_at = shard, self._clock() + STAY_S

    def took_groups(self, asked: Groups, share: int, took: Sequence[tuple[str, int, int]], *, stopped: bool) -> None:
        """Note what a claim of many groups gave: of each row the group, the position of its last job, and how many.

        `stopped`: it ended before the last of the groups, or within it.
        """
        rows, jobs, marks = Counter(group for group, _, _ in took), Counter[str](), dict[str, int]()
        for group, position, given in took:
            jobs[group] += given
            marks[group] = max(position, marks.get(group, position))
        queue = asked[0][0].queue
        self._queue_turns[queue] = self._queue_turns.get(queue, 0.0) + jobs.total() / self._weights.get(queue, 1)
        reached = next((lane.group_key for lane, _ in reversed(asked) if lane.group_key in rows), None)
        for lane, low in asked:
            group = lane.group_key
            hi = marks.get(group, low)
            self._group_turns[queue, group] = self._group_turns.get((queue, group), 0.0) + jobs[group]
            if group == reached:
                self._last = lane
                if stopped:
                    self._go_on(lane, hi, dry=False)
                    break
            self._go_on(lane, hi, dry=rows[group] < share)

    def _go_on(self, lane: Lane, hi: int, *, dry: bool) -> None:
        mark = max(hi, self._low.pop(lane, 0), self._quiet.pop(lane, 0))
        (self._quiet if dry else self._low)[lane] = mark
        while len(self._quiet) > self._quiet_most:
            del self._quiet[next(iter(self._quiet))]
