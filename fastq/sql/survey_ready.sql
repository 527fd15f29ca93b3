-- Count the ready jobs of one segment of one shard by queue, and tell the time since the oldest was enqueued.
-- Exact up to a cap for each queue: `cap` shared between the queues found, but at least `floor`; `capped` says where it
-- stopped. Age: of the jobs at the front of each priority, which with few groups are the oldest.
-- Run over all segments at once: `over_segments`. A loose index scan finds the queues.
-- Function: survey_ready(shard int4, cap int8, floor int8, queues int8) returns (queue text, jobs int8, capped bool, oldest_s float8).
-- Locks: none. Index: ready_{segment}_pkey. Caller: insights.survey, protocol.history.
select q.queue, c.jobs, c.rows > q.cap as capped, a.oldest_s
from (
  with recursive walk as (
    (select r.queue from fastq.ready_{segment} r where r.shard = %(shard)s order by r.queue limit 1)
    union all
    select n.queue from walk w cross join lateral (
      select r.queue from fastq.ready_{segment} r where r.shard = %(shard)s and r.queue > w.queue order by r.queue limit 1) n
  )
  select w.queue, greatest(%(floor)s::int8, %(cap)s::int8 / count(*) over ()) as cap
  from (select w.queue from walk w limit %(queues)s) w
) q
cross join lateral (
  select coalesce(sum(coalesce(r.jobs, 1)), 0)::int8 as jobs, count(*) as rows
  from (
    select r.jobs from fastq.ready_{segment} r where r.shard = %(shard)s and r.queue = q.queue
    order by r.priority, r.group_key, r.pos  -- keeps a planner without statistics on the index
    limit q.cap + 1) r
) c
cross join lateral (
  select (extract(epoch from now()) - min(f.enqueued_ms) / 1000.0)::float8 as oldest_s
  from generate_series(0, 9) as p(priority)
  cross join lateral (
    select r.enqueued_ms from fastq.ready_{segment} r
    where r.shard = %(shard)s and r.queue = q.queue and r.priority = p.priority
    order by r.group_key, r.pos limit 1) f
) a
