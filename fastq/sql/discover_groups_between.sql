-- Find groups of one queue and priority of one segment that have jobs, beside those that are known: the first one in each
-- gap from `from_groups` to before `to_groups`, with the place of its first job. It never meets the dead entries that the
-- known groups' claims left behind, which is what makes discover_lanes take long beside a big group.
-- Run over all segments at once: `over_segments`.
-- Locks: none. Index: ready_{segment}_pkey, once per gap. Caller: protocol.claim.
select {segment} as segment, n.group_key, n.pos
from unnest(%(from_groups)s::text[], %(to_groups)s::text[]) as g(from_group, to_group)
cross join lateral (
  select r.group_key, r.pos from fastq.ready_{segment} r
  where r.slot = %(slot)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key >= g.from_group
    and r.group_key < g.to_group and r.task <> all (%(unknown)s)
  order by r.group_key, r.pos limit 1
) n
