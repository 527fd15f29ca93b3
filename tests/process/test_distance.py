"""A worker whose database is far away: claims bring what their trip needs, so that distance costs no throughput."""

from __future__ import annotations

import handlers
import pytest
from fleet import Fleet
from line import Line
from probe import Db, enqueue, wait_empty

pytestmark = pytest.mark.process

JOBS = 6000
SLOTS = 32
COUNT_CLAIMS = """
create table claims (n int generated always as identity, jobs int);
create function note() returns trigger language plpgsql as $$
begin
  insert into claims (jobs) values (coalesce(new.jobs, json_array_length(convert_from(new.batch, 'UTF8')::json)));
  return null;
end $$;
do $$
begin
  for k in 0..3 loop
    execute format('create trigger note after insert on fastq.lease_%s for each row execute function note()', k);
  end loop;
end $$;
"""


@pytest.mark.parametrize(("trip_ms", "claims"), [(0, JOBS), (5, JOBS), (30, 240), (100, 180)])
def test_claims_bring_as_much_as_their_trip_needs(dsn: str, db: Db, trip_ms: int, claims: int) -> None:
    """Of jobs of a millisecond, free places alone give some 17 a claim: far away there are many more, each job once."""
    db.execute(COUNT_CLAIMS.encode())
    enqueue(*[handlers.tick.job()] * JOBS)
    with Line(dsn, delay_s=trip_ms / 2000) as far, Fleet(far.dsn, "-c", str(SLOTS)):
        wait_empty(db)
    sizes = [row[0] for row in db.execute("select jobs from claims order by n").fetchall()]
    assert sum(sizes) == JOBS
    assert sizes[0] == SLOTS, "nothing is claimed ahead before the rate is known"
    assert max(sizes) <= max(500, 500 * trip_ms // 10 * 2)
    assert len(sizes) <= claims
