-- Find lanes of one segment of one shard that have jobs, each with the place of its first job: up to `limit` pairs of
-- queue and priority from `from_queue` on, and of each up to `limit` groups from `from_group` on (null: none there).
-- A loose index scan: one probe per lane. Queues in `exclude` and jobs that are not `wanted` do not count.
-- Run over all segments at once: `over_segments`. See discover_lanes_of_queues for workers with a list of queues.
-- Function: discover_lanes(shard int4, from_queue text, from_group text, exclude text[], hot text[], known text[], limit
-- int8) returns (segment int4, queue text, priority int2, group_key text, pos int8, paused bool).
-- Locks: none. Index: ready_{segment}_pkey. Caller: protocol.discover.
with recursive line as (
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.shard = %(shard)s and r.queue >= %(from_queue)s and {wanted} and r.queue <> all (%(exclude)s)
   order by r.queue, r.priority, r.group_key, r.pos limit 1)
  union all
  select n.queue, n.priority, n.group_key, n.pos from line l cross join lateral (
    select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
    where r.shard = %(shard)s and (r.queue, r.priority) > (l.queue, l.priority)
      and {wanted} and r.queue <> all (%(exclude)s)
    order by r.queue, r.priority, r.group_key, r.pos limit 1) n
)
select {segment} as segment, l.queue, l.priority, f.group_key, f.pos,
       exists (select from fastq.queue q where q.name = l.queue and q.paused) as paused
from (select i.queue, i.priority, i.group_key, i.pos from line i limit %(limit)s) l
left join lateral (
  with recursive lane as (
    (select l.group_key, l.pos where l.group_key >= %(from_group)s
     union all
     (select r.group_key, r.pos from fastq.ready_{segment} r
      where l.group_key < %(from_group)s and r.group_key >= %(from_group)s
        and r.shard = %(shard)s and r.queue = l.queue and r.priority = l.priority and {wanted}
      order by r.group_key, r.pos limit 1))
    union all
    select n.group_key, n.pos from lane p cross join lateral (
      select r.group_key, r.pos from fastq.ready_{segment} r
      where r.shard = %(shard)s and r.queue = l.queue and r.priority = l.priority and r.group_key > p.group_key
        and {wanted}
      order by r.group_key, r.pos limit 1) n
  )
  select p.group_key, p.pos from lane p limit %(limit)s
) f on true
