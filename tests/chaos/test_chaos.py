"""A short slice of the proof of durability; `make chaos` plays all of it, for minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos import faults
from chaos.cells import CELLS, Cell
from chaos.run import Progress, details, play, table
from chaos.verdict import Verdict

pytestmark = pytest.mark.process

SEED = 7
SLICE = (
    replace(CELLS["supervisor-kill"], seconds=3.0, every_s=1.2),
    Cell(
        name="small-mix",
        faults=(
            faults.worker_kills,
            faults.steward_kill,
            faults.postgres_kill,
            faults.postgres_immediate,
            faults.backend_terminate,
            faults.connections,
        ),
        seconds=5.0,
        every_s=1.2,
    ),
)


def held(cell: Cell) -> Verdict:
    """Play a cell and return its verdict, which has to be good."""
    verdict, _ = play(cell, SEED, Progress())
    assert verdict.good, f"{table([verdict])}\n{details(verdict)}"
    return verdict


@pytest.mark.parametrize("cell", SLICE, ids=lambda cell: cell.name)
def test_nothing_is_lost(cell: Cell) -> None:
    """Under faults no acknowledged job is lost, none runs again without cause, effects are exact, nothing is left."""
    verdict = held(cell)
    assert verdict.acked
    assert verdict.faults
