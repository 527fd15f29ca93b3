-- Find up to `limit` lanes of one segment of one slot that have jobs, each with the place of its first job.
-- A loose index scan: one probe per lane. Queues in `exclude` and tasks in `unknown` do not count, paused queues neither.
-- Run over all segments at once: `over_segments`. See discover_lanes_of_queues for workers with a list of queues.
-- Locks: none. Index: ready_{segment}_pkey. Caller: protocol.claim.
with recursive lane as (
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.slot = %(slot)s and r.task <> all (%(unknown)s) and r.queue <> all (%(exclude)s)
   order by r.queue, r.priority, r.group_key, r.pos limit 1)
  union all
  select n.queue, n.priority, n.group_key, n.pos from lane l cross join lateral (
    select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
    where r.slot = %(slot)s and (r.queue, r.priority, r.group_key) > (l.queue, l.priority, l.group_key)
      and r.task <> all (%(unknown)s) and r.queue <> all (%(exclude)s)
    order by r.queue, r.priority, r.group_key, r.pos limit 1) n
)
select {segment} as segment, l.queue, l.priority, l.group_key, l.pos
from lane l
where not exists (select from fastq.queue q where q.name = l.queue and q.paused)
limit %(limit)s
