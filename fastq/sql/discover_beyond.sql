-- Find what stands in one segment beyond what is known: of each stretch of a shard the first job. It begins behind a place in a
-- lane, and ends before a place of the same lane, or a group of the same line, or a priority of the same queue, or a
-- queue: before the one of the four that is given. (One range of all columns at once would do, but before PostgreSQL 18
-- the scan of such a range goes on to the end of its queue: among 500,000 jobs 68 ms instead of 0.05.)
-- The stretches leave out most of what has been claimed, so this hardly meets the dead entries that claims left behind,
-- which is what makes discover_lanes take long.
-- Run over all segments at once: `over_segments`.
-- Locks: none. Index: ready_{segment}_pkey, once per stretch. Caller: protocol.discover.
select s.shard, {segment} as segment, n.queue, n.priority, n.group_key, n.pos
from unnest(%(shards)s::int4[], %(segments)s::int2[], %(queues)s::text[], %(priorities)s::int2[], %(groups)s::text[], %(lows)s::int8[],
            %(to_queues)s::text[], %(to_priorities)s::int2[], %(to_groups)s::text[], %(highs)s::int8[])
  as s(shard, segment, queue, priority, group_key, low, to_queue, to_priority, to_group, high)
cross join lateral (
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.shard = s.shard and r.queue = s.queue and r.priority = s.priority and r.group_key = s.group_key
     and r.pos > s.low and r.pos < s.high and {wanted}
   order by r.pos limit 1)
  union all
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.shard = s.shard and r.queue = s.queue and r.priority = s.priority
     and (r.group_key, r.pos) > (s.group_key, s.low) and r.group_key < s.to_group and {wanted}
   order by r.group_key, r.pos limit 1)
  union all
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.shard = s.shard and r.queue = s.queue
     and (r.priority, r.group_key, r.pos) > (s.priority, s.group_key, s.low) and r.priority < s.to_priority and {wanted}
   order by r.priority, r.group_key, r.pos limit 1)
  union all
  (select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
   where r.shard = s.shard
     and (r.queue, r.priority, r.group_key, r.pos) > (s.queue, s.priority, s.group_key, s.low) and r.queue < s.to_queue and {wanted}
   order by r.queue, r.priority, r.group_key, r.pos limit 1)
) n
where s.segment = {segment} and not exists (select from fastq.queue q where q.name = n.queue and q.paused)
