-- Count the jobs that fit, among the first `cap` rows of each table that are in some states, of a queue and of a task; `more`:
-- there are further rows.
-- Function: survey_count(states text[], queue text, task text, error text, cap int8) returns (jobs int8, more bool).
-- Locks: none. Index: ready_*_pkey, scheduled_due, line_pkey, finished_by_state. Caller: protocol.jobs.
with shard as materialized (select generate_series(0, fastq.shards() - 1) as shard),
seen as (
  select coalesce(r.jobs, 1)::int8 as jobs, r.meta
  from shard s cross join lateral (
    select r.jobs, r.meta from fastq.ready r
    where r.shard = s.shard and 'ready' = any (%(states)s) and (%(queue)s::text is null or r.queue = %(queue)s)
      and (%(task)s::text is null or r.task = %(task)s)
    order by r.queue, r.priority, r.group_key, r.pos limit %(cap)s) r
  union all
  select coalesce(w.jobs, 1), w.meta
  from shard s cross join lateral (
    select w.jobs, w.meta from fastq.scheduled w
    where w.shard = s.shard and w.reason = any (%(states)s) and %(states)s::text[] && array['scheduled', 'retrying', 'reserved']
      and (%(queue)s::text is null or w.queue = %(queue)s) and (%(task)s::text is null or w.task = %(task)s)
    limit %(cap)s) w
  union all
  select 1, l.meta
  from shard s cross join lateral (
    select l.meta from fastq.line l
    where l.shard = s.shard and not l.reserved and 'waiting' = any (%(states)s) and (%(queue)s::text is null or l.queue = %(queue)s)
      and (%(task)s::text is null or l.task = %(task)s)
    limit %(cap)s) l
  union all
  select 1, f.meta
  from shard s cross join unnest(array['failed', 'discarded', 'cancelled', 'expired', 'succeeded']) as k(state) cross join lateral (
    select f.meta from fastq.finished f
    where f.shard = s.shard and f.state = k.state and k.state = any (%(states)s)
      and (%(queue)s::text is null or f.queue = %(queue)s) and (%(task)s::text is null or f.task = %(task)s)
    order by f.finished_at limit %(cap)s) f
)
select coalesce(sum(c.jobs) filter (where %(error)s::text is null or fastq.has_error(c.meta, %(error)s)), 0)::int8 as jobs,
       count(*) >= %(cap)s as more
from seen c
