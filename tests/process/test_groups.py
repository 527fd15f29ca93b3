"""Groups over two worker processes: fair ones by the thousand, and ordered ones whose jobs say when they ran."""

from __future__ import annotations

from itertools import groupby

import grouped
import pytest
from fleet import Fleet, until
from probe import Db, states

pytestmark = pytest.mark.process

LINES, STEPS = 12, 20
TENANTS = 30_000


@pytest.fixture(autouse=True)
def notes(db: Db) -> None:
    """Make the table that the jobs write to."""
    db.execute("create table note (id int8 generated always as identity, what text, grp text, n int, pid int)")


def test_thousands_of_small_groups(dsn: str, db: Db) -> None:
    """Each job of each group runs, claimed together with those of others, and nothing is left."""
    with grouped.app as app:
        app.enqueue_many_sync(grouped.nothing.options(group_key=f"g{n % 3000}").job() for n in range(9000))
    with Fleet(dsn, "--burst", target="grouped:app", processes=2) as fleet:
        assert fleet.process.wait(60) == 0
    assert states(db) == {}


def test_a_lone_job_beside_a_big_tenant(dsn: str, db: Db) -> None:
    """The job of a small group, enqueued last, starts within a few batches of the tenant's."""
    with grouped.app as app:
        app.enqueue_many_sync(grouped.nothing.options(group_key="big").job() for _ in range(TENANTS))
        app.enqueue_many_sync([grouped.lone.options(group_key="small").job()])
    with Fleet(dsn, "--burst", target="grouped:app", processes=2) as fleet:
        assert fleet.process.wait(60) == 0
    ((left,),) = db.execute("select n from note where what = 'left'").fetchall()
    assert left >= TENANTS - 2 * 8 * 500


def test_one_step_after_the_other(dsn: str, db: Db) -> None:
    """Through retries, discards, completions in own transactions and killed workers: in order, never two, each once."""
    with grouped.app as app:
        app.enqueue_many_sync(
            grouped.step.options(group_key=f"g{line}").job(group=f"g{line}", n=n)
            for n in range(STEPS)
            for line in range(LINES)
        )
    with Fleet(dsn, "--lease", "2", target="grouped:app", processes=2):
        until("all steps to end", lambda: set(states(db)) <= {"discarded"})
    assert db.execute("select from fastq.head union all select from fastq.line").fetchall() == []
    rows = db.execute("select grp, n, what from note where what <> 'own' order by grp collate \"C\", id").fetchall()
    for group, told in groupby(rows, key=lambda row: row[0]):
        steps = [(n, [what for _, _, what in events]) for n, events in groupby(told, key=lambda row: row[1])]
        assert [n for n, _ in steps] == list(range(STEPS)), group
        for n, events in steps:
            assert events[-1] == "end" or n % 5 == 4, (group, n, events)  # completed by itself, then killed
    own = db.execute("select grp, n, count(*) from note where what = 'own' group by 1, 2").fetchall()
    assert len(own) == LINES * len([n for n in range(STEPS) if n % 5 == 4])
    assert {count for _, _, count in own} == {1}


def test_a_line_runs_at_once(dsn: str, db: Db) -> None:
    """The next step does not wait for a poll: with polls a minute apart, a line is through all the same."""
    with grouped.app as app:
        app.enqueue_many_sync(grouped.step.options(group_key="g").job(group="g", n=n) for n in (0, 1, 2, 5, 7))
    with Fleet(dsn, "--poll-interval", "60", target="grouped:app", processes=2):
        until("all steps to end", lambda: not states(db))
