"""The history of a real fleet adds up to what its workers did."""

from __future__ import annotations

import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states

pytestmark = pytest.mark.process


def test_it_adds_up_to_what_the_workers_counted(dsn: str, db: Db) -> None:
    """Over two fleets, one after the other: what succeeded, failed and was tried again, each once."""
    for turn in (1, 2):
        enqueue(*(handlers.nothing.job(n=n) for n in range(700)), *(handlers.failing.job(n=n) for n in range(3)))
        with Fleet(dsn, processes=2) as fleet:
            until("all to end", lambda turn=turn: states(db) == {"failed": 3 * turn})
            assert fleet.stop() == 0
    counts = "select sum(succeeded)::int, sum(failed)::int, sum(retried)::int from fastq.history where queue = ''"
    assert db.execute(counts).fetchall() == [(1400, 6, 12)]
