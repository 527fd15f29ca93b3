"""Which jobs come to a batch handler together, and which signatures it may have."""

from __future__ import annotations

from typing import Any

import pytest

import fastq
from fastq.host.board import Board, running_key
from fastq.protocol.claim import Lane
from fastq.worker.batch import Batch
from fastq.worker.batches import calls_of

pytestmark = pytest.mark.unit

LANE = Lane(0, 0, "default", 4, "")


def batch(*tasks: str, metas: dict[int, Any] | None = None) -> Batch:
    """Return a lease's batch with jobs of these tasks."""
    metas = metas or {}
    rows = [[100 + n, task, 0, 0, {}, None, metas.get(n)] for n, task in enumerate(tasks)]
    return Batch(LANE, 7, rows, 0.0)


def calls(of: Batch, **sizes: int) -> list[list[int]]:
    """Return the ordinals of each call."""
    return [[key - running_key(7, 0) for key in call.keys] for call in calls_of(of, sizes)]


def test_neighbours_of_one_task_come_together() -> None:
    """Up to the size; others stay in the batch, and what they stand between is not one call."""
    mixed = batch("a", "a", "a", "other", "a", "b", "b")
    assert calls(mixed, a=2, b=10) == [[0, 1], [2], [4], [5, 6]]
    assert [row[1] for _, row in mixed.remaining] == ["other"]


def test_suspects_are_left_out() -> None:
    """What was taken out before is in no call."""
    of = batch("a", "a", "a", metas={1: {"crashes": 1}})
    of.skim(of.suspects)
    assert calls(of, a=10) == [[0], [2]]


def test_a_batch_without_such_jobs_is_left_alone() -> None:
    """Not a row is moved."""
    of = batch("x", "y")
    assert calls(of, a=10) == []
    assert len(list(of.remaining)) == 2


def test_the_board_names_all_jobs_of_a_call() -> None:
    """By its first job and its span; the others by themselves."""
    (cell,) = Board(cells=1, running=2).cells
    cell.running[0], cell.spans[0], cell.running[1] = running_key(7, 3), 2, running_key(8, 0)
    assert cell.running_jobs() == [(7, 3), (7, 4), (7, 5), (8, 0)]
    assert cell.jobs_of(running_key(8, 0)) == [(8, 0)]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"batch": 0}, "1 to 10000"), ({"batch": 10_001}, "1 to 10000"), ({"batch_wait": 1}, "beside batch")],
)
def test_sizes_that_cannot_be(options: dict[str, Any], why: str) -> None:
    """Said when the task is declared."""

    def handler(jobs: list[fastq.BatchItem]) -> None: ...

    with pytest.raises(fastq.UsageError, match=why):
        fastq.App().task(**options)(handler)


def test_signatures_that_cannot_be() -> None:
    """One parameter for the jobs, and no context of a single job."""

    def two(jobs: list[fastq.BatchItem], more: int) -> None: ...
    def none() -> None: ...
    def context(jobs: list[fastq.BatchItem], ctx: fastq.Context) -> None: ...

    for handler, why in ((two, "one parameter"), (none, "one parameter"), (context, "no fastq.Context")):
        with pytest.raises(fastq.UsageError, match=why):
            fastq.App().task(batch=5)(handler)  # type: ignore[arg-type]


def test_arguments_are_any_names() -> None:
    """But by name."""
    app = fastq.App()

    @app.task(batch=5)
    def handler(jobs: list[fastq.BatchItem]) -> None: ...

    assert handler.job(a=1, b="x").args == {"a": 1, "b": "x"}
    with pytest.raises(fastq.ArgumentError, match="by place"):
        handler.job(1)
