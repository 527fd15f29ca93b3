-- How many jobs of a queue are claimed and not done in one shard, and with `grouped`, how many of those are of one group: a
-- lease can hold many. The leases in `acks` are done.
-- Run over all shards at once: `over_shards`.
-- Function: count_running(shard int4, queue text, grouped bool, group_key text, acks int8[]) returns (running int8, of_group int8).
-- Locks: none (the caller holds the queue's allowance). Index: lease scan (leases are few). Caller: protocol.limits.
select coalesce(sum(j.jobs), 0)::int8 as running, coalesce(sum(j.of_group), 0)::int8 as of_group
from fastq.lease l
cross join lateral (
  select fastq.jobs_left(row(l.*)::fastq.lease) as jobs,
         case when %(grouped)s and l.packet is null then
                (select count(*) from fastq.try_jobs_of(row(l.*)::fastq.lease) u where u.group_key = %(group_key)s)
              when %(grouped)s and l.group_key = %(group_key)s then fastq.jobs_left(row(l.*)::fastq.lease)
         end as of_group
) j
where l.shard = %(shard)s and l.queue = %(queue)s and l.id <> all (%(acks)s)
