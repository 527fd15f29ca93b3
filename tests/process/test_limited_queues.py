"""Limits of queues, over two worker processes: the jobs themselves say when they ran."""

from __future__ import annotations

import limited
import pytest
from fleet import Fleet, until
from probe import Db, states

from fastq.protocol import limits

pytestmark = pytest.mark.process

MOST = """
select max(n) from (
  select s.job, count(*) as n from span s join span o on o.ran @> lower(s.ran) and (not %s or o.grp = s.grp)
  group by s.job
) x
"""


@pytest.fixture(autouse=True)
def spans(db: Db) -> None:
    """Make the table that the jobs write to."""
    db.execute("create table span (job int8, grp text, ran tstzrange)")


def put(count: int, *, groups: bool = False) -> None:
    """Enqueue jobs, of four groups if wanted."""
    with limited.app as app:
        app.enqueue_many_sync(
            limited.works.options(group_key=f"g{n % 4}" if groups else "").job(n=n) for n in range(count)
        )


def most(db: Db, *, in_a_group: bool = False) -> int:
    """Wait until all jobs are done; return how many ran at once at most."""
    until("all jobs to run", lambda: not states(db))
    row = db.execute(MOST, [in_a_group]).fetchone()
    assert row is not None
    return int(row[0])


def test_never_more_run_at_once_than_allowed(dsn: str, db: Db) -> None:
    """Neither of the workers alone nor both together run more; both take part, and all jobs run once."""
    limits.set_queue(db, "limited", max_running=3)
    put(300)
    with Fleet(dsn, "-c", "20", target="limited:app", processes=2):
        assert most(db) <= 3
    assert db.execute("select count(*), count(distinct job) from span").fetchone() == (300, 300)


def test_never_more_of_a_group_run_at_once_than_allowed(dsn: str, db: Db) -> None:
    """Each group has its own limit; together they run more."""
    limits.set_queue(db, "limited", max_running_per_group=1)
    put(200, groups=True)
    with Fleet(dsn, "-c", "20", target="limited:app", processes=2):
        assert most(db, in_a_group=True) == 1
    assert db.execute("select count(*), count(distinct job) from span").fetchone() == (200, 200)


def test_never_more_start_than_the_rate_allows(dsn: str, db: Db) -> None:
    """After the first second's worth they start at the rate, whichever worker claims; a burst waits for its turn."""
    limits.set_queue(db, "limited", rate=20.0)
    put(60)
    (since,) = db.execute("select clock_timestamp()").fetchone() or ()
    with Fleet(dsn, "--burst", target="limited:app", processes=2) as fleet:
        assert fleet.process.wait(60) == 0
    row = db.execute("select count(*), extract(epoch from max(lower(ran)) - %s) from span", [since]).fetchone()
    assert row is not None
    assert row[0] == 60
    assert row[1] >= 2.0  # 60 jobs: 20 at once, 40 at 20 per second


def test_a_limit_that_is_lifted_lets_go(dsn: str, db: Db) -> None:
    """Nothing runs while it is 0; workers hear of the change by themselves."""
    limits.set_queue(db, "limited", max_running=0)
    put(5)
    with Fleet(dsn, target="limited:app").ready():
        limits.set_queue(db, "limited", max_running=None)
        assert most(db) >= 1
