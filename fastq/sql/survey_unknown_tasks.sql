-- Tasks of ready jobs that no worker has told of for `since_s` seconds: of each queue the first jobs of each priority are looked at.
-- Run over all segments at once: `over_segments`. A loose index scan finds the queues.
-- Locks: none. Index: ready_{segment}_pkey. Caller: insights.facts.
select distinct q.queue, f.task
from (
  with recursive walk as (
    (select r.queue from fastq.ready_{segment} r where r.shard = %(shard)s order by r.queue limit 1)
    union all
    select n.queue from walk w cross join lateral (
      select r.queue from fastq.ready_{segment} r where r.shard = %(shard)s and r.queue > w.queue order by r.queue limit 1) n
  )
  select w.queue from walk w limit %(queues)s
) q
cross join generate_series(0, 9) as p(priority)
cross join lateral (
  select r.task from fastq.ready_{segment} r
  where r.shard = %(shard)s and r.queue = q.queue and r.priority = p.priority
  order by r.group_key, r.pos limit 100
) f
where not exists (
  select from fastq.task t where t.name = f.task and t.seen_at > now() - %(since_s)s * interval '1 second')
