-- How many jobs of a queue are claimed and not done, and with `grouped`, how many of those are of one group: a lease can
-- hold many. The leases in `acks` are done.
-- Locks: none (the caller holds the queue's allowance). Index: lease scan (leases are few). Caller: protocol.limits.
select coalesce(sum(j.jobs), 0)::int8 as running, coalesce(sum(j.of_group), 0)::int8 as of_group
from fastq.lease l
cross join lateral (
  select json_array_length(convert_from(l.batch, 'UTF8')::json)
         - (select count(distinct d.ord) from unnest(l.done) as d(ord)) as jobs,
         case when %(grouped)s then
           (select count(*) from fastq.try_unpack(l.batch, l.done, l.group_key) u where u.group_key = %(group_key)s)
         end as of_group
) j
where l.shard = %(shard)s and l.queue = %(queue)s and l.id <> all (%(acks)s)
