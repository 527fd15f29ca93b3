-- Mark single jobs of leases as done, so that a crash does not repeat them while a slow neighbour keeps the lease.
-- `leases` and `ords` are parallel. Returns the leases that were still ours.
-- Function: ack_jobs(shard int4, worker int8, leases int8[], ords int2[]) returns (id int8).
-- Locks: lease rows by update. Index: lease_pkey. Caller: protocol.ack.
update fastq.lease l
set done = l.done || m.ords
from (
  select u.lease, array_agg(u.ord) as ords
  from unnest(%(leases)s::int8[], %(ords)s::int2[]) as u(lease, ord)
  group by u.lease
) m
where l.shard = %(shard)s and l.worker = %(worker)s and l.id = m.lease and l.id = any (%(leases)s)
  and l.id between (select min(a.id) from unnest(%(leases)s::int8[]) a(id))
               and (select max(a.id) from unnest(%(leases)s::int8[]) a(id))
returning l.id
