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
    db.execute("create table span (job int8, grp text, ran tstzrange, pid int)")


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
    with Fleet(dsn, "-c", "20", target="limited:app", processes=2) as fleet:
        fleet.ready(2)
        put(300)
        assert most(db) == 3
    assert db.execute("select count(*), count(distinct job), count(distinct pid) from span").fetchone() == (300, 300, 2)


def test_never_more_of_a_group_run_at_once_than_allowed(dsn: str, db: Db) -> None:
    """Each group has its own limit; together they run more."""
    limits.set_queue(db, "limited", max_running_per_group=1)
    put(200, groups=True)
    with Fleet(dsn, "-c", "20", target="limited:app", processes=2):
        assert most(db, in_a_group=True) == 1
    assert db.execute("select count(*), count(distinct job) from span").fetchone() == (200, 200)


RATE = 20.0
CLAIMS = """
create table claim (tx xid8 default pg_current_xact_id(), at timestamptz, jobs int);
create function note_claim() returns trigger language plpgsql as $$
begin
  insert into claim (jobs) values (fastq.jobs_left(new::fastq.lease));
  return null;
end $$;
create function note_time() returns trigger language plpgsql as $$
begin
  update claim set at = new.filled_at where tx = pg_current_xact_id();
  return null;
end $$;
create trigger note_claim after insert on fastq.lease for each row execute function note_claim();
create trigger note_time after update on fastq.allowance for each row execute function note_time();
"""
FASTEST = """
select max(upto.jobs - (%s + %s * extract(epoch from upto.at - since.at)))
from claim since, lateral (
  select o.at, sum(o.jobs) over (order by o.at) as jobs from claim o where o.at >= since.at
) upto
"""


def test_never_more_start_than_the_rate_allows(dsn: str, db: Db) -> None:
    """A second's worth at once, and from then on at the rate: so in any stretch of time, whichever worker claims."""
    db.execute(CLAIMS.encode())
    limits.set_queue(db, "limited", rate=RATE)
    put(60)
    with Fleet(dsn, "--burst", target="limited:app", processes=2) as fleet:
        assert fleet.process.wait(60) == 0
    assert db.execute("select count(*), count(distinct job) from span").fetchone() == (60, 60)
    assert db.execute("select sum(jobs) from claim").fetchone() == (60,)
    (excess,) = db.execute(FASTEST, [RATE, RATE]).fetchone() or ()
    assert excess <= 0.001  # jobs more than one second's worth and the stretch's own; the clock has microseconds


def test_a_limit_that_is_lifted_lets_go(dsn: str, db: Db) -> None:
    """Nothing runs while it is 0; workers hear of the change by themselves."""
    limits.set_queue(db, "limited", max_running=0)
    put(5)
    with Fleet(dsn, target="limited:app").ready():
        limits.set_queue(db, "limited", max_running=None)
        assert most(db) >= 1
