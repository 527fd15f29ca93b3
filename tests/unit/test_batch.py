"""One claimed lease: what waits in it, and what is done."""

from __future__ import annotations

from typing import Any

import pytest

from fastq.host.board import running_key, split_key
from fastq.protocol.claim import Lane
from fastq.worker.batch import Batch

pytestmark = pytest.mark.unit


def batch(*rows: list[Any], lease: int = 7, count: int = 0) -> Batch:
    """Return a batch of these rows, or of `count` plain ones."""
    made = [*rows] or [[100 + n, "t", 0, 5, {}] for n in range(count)]
    return Batch(Lane(0, 0, "q", 4, ""), lease, made, 1.0)


def test_keys_name_lease_and_ordinal() -> None:
    """Each job comes with the key that the board shows while it runs."""
    keys = [key for key, _ in batch(count=3).remaining]
    assert [split_key(key) for key in keys] == [(7, 0), (7, 1), (7, 2)]
    assert keys[2] == running_key(7, 2)


def test_counting() -> None:
    """`waiting` counts down as slots take jobs, who share one iterator."""
    made = batch(count=3)
    assert (made.size, made.left, made.waiting) == (3, 3, 3)
    next(made.remaining)
    assert made.waiting == 2
    list(made.remaining)
    assert (made.waiting, made.left) == (0, 3)


def test_the_rest_can_be_taken_back() -> None:
    """What no slot took is given back, each job with its own ordinal, and nobody gets it any more."""
    made = batch(count=4)
    next(made.remaining)
    assert [(job.ord, job.id) for job in made.take_rest()] == [(1, 101), (2, 102), (3, 103)]
    assert made.waiting == 0
    assert made.take_rest() == []


@pytest.mark.parametrize(
    ("row", "job_id", "meta"),
    [
        ([50, "t", 2, 5, {}], 50, None),
        ([50, "t", 2, 5, {}, None, {"headers": {}}], 50, {"headers": {}}),
        ([50, "t", 2, 5, {}, 9, None], 9, None),
    ],
)
def test_a_job_as_decisions_want_it(row: list[Any], job_id: int, meta: dict[str, Any] | None) -> None:
    """The id is the position unless the job came back; meta only where there is one."""
    made = batch(row)
    ((key, taken),) = made.remaining
    job = made.job(key, taken)
    assert (job.lease, job.ord, job.id, job.task, job.attempt, job.meta) == (7, 0, job_id, "t", 2, meta)


def test_newly_done() -> None:
    """Done is what was taken, does not run, was not settled, and was not said before."""
    made = batch(count=6)
    keys = [next(made.remaining)[0] for _ in range(5)]
    made.settled.add(3)
    made.acked.add(0)
    assert made.newly_done({keys[1]}) == [2, 4]


def test_skimming() -> None:
    """Skimmed jobs come out; the others are served under the ordinals that they have in the lease."""
    made = batch(count=4)
    assert [split_key(key)[1] for key, _ in made.skim({0, 2})] == [0, 2]
    assert made.waiting == 2
    assert [split_key(key)[1] for key, _ in made.remaining] == [1, 3]


def test_nothing_is_done_that_was_not_taken() -> None:
    """After skimming the last job, the first, which still waits, is not done."""
    made = batch(count=3)
    made.skim({2})
    made.settled.add(2)
    assert made.newly_done(set()) == []
