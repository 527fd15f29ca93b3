-- The leases of a claim, that of single jobs and those of packets, whose payloads are in the same segment or were scheduled.
-- A packet is fresh if its jobs have never been put back into line, nor had to wait for their time.
select l.id, l.batch, null::int8 as packet, null::int8 as first, null::int2 as jobs, null as task, null::int8 as enqueued_ms,
       null as meta, null as group_key, null::bool as fresh
from leased l
union all
select o.id, coalesce((select k.payloads from fastq.packet{of} k where k.shard = %(shard)s and k.pos = o.packet),
                      (select k.payloads from fastq.packet_4 k where k.shard = %(shard)s and k.pos = o.packet)),
       o.packet, o.first, o.jobs, o.task, o.enqueued_ms, o.meta::text, o.group_key,
       exists (select from packed p where p.n = o.id - %(lease)s and p.id is null)
from opened o
