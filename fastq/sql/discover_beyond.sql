-- Find what stands in one segment beyond what is known: of each stretch, from behind a place in a lane to before another
-- place, the first job. The stretches leave out most of what has been claimed, so this hardly meets the dead entries that
-- claims left behind, which is what makes discover_lanes take long.
-- Run over all segments at once: `over_segments`.
-- Locks: none. Index: ready_{segment}_pkey, once per stretch. Caller: protocol.discover.
select {segment} as segment, n.queue, n.priority, n.group_key, n.pos
from unnest(%(segments)s::int2[], %(queues)s::text[], %(priorities)s::int2[], %(groups)s::text[], %(lows)s::int8[],
            %(to_queues)s::text[], %(to_priorities)s::int2[], %(to_groups)s::text[], %(highs)s::int8[])
  as s(segment, queue, priority, group_key, low, to_queue, to_priority, to_group, high)
cross join lateral (
  select r.queue, r.priority, r.group_key, r.pos from fastq.ready_{segment} r
  where r.slot = %(slot)s and r.task <> all (%(unknown)s)
    and (r.queue, r.priority, r.group_key, r.pos) > (s.queue, s.priority, s.group_key, s.low)
    and (r.queue, r.priority, r.group_key, r.pos) < (s.to_queue, s.to_priority, s.to_group, s.high)
  order by r.queue, r.priority, r.group_key, r.pos limit 1
) n
where s.segment = {segment} and not exists (select from fastq.queue q where q.name = n.queue and q.paused)
