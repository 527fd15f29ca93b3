-- Count the jobs that wait for a time (scheduled, retrying, reserved), for others of their group (waiting), those that
-- failed for good, and those that are kept otherwise (succeeded, discarded, cancelled, expired), by queue.
-- Each of them looks at one row more than `cap` at most; `capped` says that there were more.
-- Function: survey_waiting(cap int4, shards int4) returns (state text, queue text, jobs int8, capped bool).
-- Locks: none. Index: none for scheduled and line (scans that end at `cap`), finished_by_state. Caller: insights.survey.
select w.reason as state, w.queue, sum(coalesce(w.jobs, 1))::int8 as jobs, sum(count(*)) over () > %(cap)s as capped
from (select s.reason, s.queue, s.jobs from fastq.scheduled s limit %(cap)s + 1) w
group by w.reason, w.queue
union all
select 'waiting', w.queue, count(*), sum(count(*)) over () > %(cap)s
from (select l.queue from fastq.line l where not l.reserved limit %(cap)s + 1) w
group by w.queue
union all
select 'failed', f.queue, count(*), sum(count(*)) over () > %(cap)s
from (
  select d.queue from generate_series(0, %(shards)s - 1) as n(shard) cross join lateral (
    select d.queue, d.finished_at from fastq.finished d where d.shard = n.shard and d.state = 'failed'
    order by d.finished_at limit %(cap)s + 1) d
  limit %(cap)s + 1
) f
group by f.queue
union all
select 'kept', k.queue, count(*), sum(count(*)) over () > %(cap)s
from (
  select d.queue
  from generate_series(0, %(shards)s - 1) as n(shard)
  cross join unnest(array['succeeded', 'discarded', 'cancelled', 'expired']) as s(state)
  cross join lateral (
    select d.queue, d.finished_at from fastq.finished d where d.shard = n.shard and d.state = s.state
    order by d.finished_at limit %(cap)s + 1) d
  limit %(cap)s + 1
) k
group by k.queue
