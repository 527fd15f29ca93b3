-- As discover_lanes, for the queues in `queues` alone: up to `limit` lanes of each.
-- Locks: none. Index: ready_{segment}_pkey. Caller: protocol.claim.
select {segment} as segment, w.queue, f.priority, f.group_key, f.pos
from unnest(%(queues)s::text[]) as w(queue)
cross join lateral (
  with recursive lane as (
    (select r.priority, r.group_key, r.pos from fastq.ready_{segment} r
     where r.slot = %(slot)s and r.queue = w.queue and r.task <> all (%(unknown)s)
     order by r.priority, r.group_key, r.pos limit 1)
    union all
    select n.priority, n.group_key, n.pos from lane l cross join lateral (
      select r.priority, r.group_key, r.pos from fastq.ready_{segment} r
      where r.slot = %(slot)s and r.queue = w.queue and (r.priority, r.group_key) > (l.priority, l.group_key)
        and r.task <> all (%(unknown)s)
      order by r.priority, r.group_key, r.pos limit 1) n
  )
  select l.priority, l.group_key, l.pos from lane l limit %(limit)s
) f
where not exists (select from fastq.queue q where q.name = w.queue and q.paused)
