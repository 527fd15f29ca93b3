-- As discover_lanes, for the queues in `queues` alone.
-- Function: discover_lanes_of_queues(shard int4, queues text[], from_group text, hot text[], known text[], limit int8)
-- returns (segment int4, queue text, priority int2, group_key text, pos int8, paused bool).
-- Locks: none. Index: ready_{segment}_pkey. Caller: protocol.discover.
select {segment} as segment, w.queue, l.priority, f.group_key, f.pos,
       exists (select from fastq.queue q where q.name = w.queue and q.paused) as paused
from unnest(%(queues)s::text[]) as w(queue)
cross join lateral (
  with recursive line as (
    (select r.priority from fastq.ready_{segment} r
     where r.shard = %(shard)s and r.queue = w.queue and {wanted}
     order by r.priority, r.group_key, r.pos limit 1)
    union all
    select n.priority from line l cross join lateral (
      select r.priority from fastq.ready_{segment} r
      where r.shard = %(shard)s and r.queue = w.queue and r.priority > l.priority and {wanted}
      order by r.priority, r.group_key, r.pos limit 1) n
  )
  select line.priority from line
) l
cross join lateral (
  with recursive lane as (
    (select r.group_key, r.pos from fastq.ready_{segment} r
     where r.shard = %(shard)s and r.queue = w.queue and r.priority = l.priority and r.group_key >= %(from_group)s
       and {wanted}
     order by r.group_key, r.pos limit 1)
    union all
    select n.group_key, n.pos from lane p cross join lateral (
      select r.group_key, r.pos from fastq.ready_{segment} r
      where r.shard = %(shard)s and r.queue = w.queue and r.priority = l.priority and r.group_key > p.group_key
        and {wanted}
      order by r.group_key, r.pos limit 1) n
  )
  select p.group_key, p.pos from lane p limit %(limit)s
) f
