"""The steward's post."""

from __future__ import annotations

import math

import pytest

from fastq.supervisor.post import Post

pytestmark = pytest.mark.unit


def test_vacant_post_is_due_until_taken() -> None:
    """And again when the steward has died."""
    post = Post()
    assert post.due(0.0)
    post.take(7, 0.0)
    assert (post.due(99.0), post.next_fill()) == (False, math.inf)
    assert post.vacate(1.0) == 0
    assert post.due(1.0)


def test_unwanted_post_stays_vacant() -> None:
    """At the end nobody is needed."""
    post = Post()
    post.wanted = False
    assert not post.due(1e9)


def test_stewards_that_die_young_come_back_slower() -> None:
    """One that lived makes the next one come at once."""
    post = Post()
    delays = []
    for _ in range(4):
        post.take(7, 0.0)
        delays.append(post.vacate(1.0))
    assert delays == [0, 0.1, 0.2, 0.4]
    post.take(7, 0.0)
    assert post.vacate(10.0) == 0


def test_failing_forks_back_off_even_after_a_long_life() -> None:
    """A system without processes to give is not asked in a tight loop."""
    post = Post()
    post.take(7, 0.0)
    post.vacate(100.0)
    assert [post.retry(100.0), post.retry(100.1)] == [0.1, 0.2]
