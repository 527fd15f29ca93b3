-- Delete the leases in `acks`, which are in order, and what their jobs made durable; and the packets of which they were the
-- only lease. A packet whose jobs do not go together any more (`cut`) is left to the steward, and so is one that any other
-- row names: a stranger's row cannot have it deleted.
acked as (
  delete from fastq.lease{of} l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(acks)s::int8[])
    and l.id between (%(acks)s::int8[])[1] and (%(acks)s::int8[])[cardinality(%(acks)s::int8[])]
  returning l.id, l.packet
),
ended as (
  delete from fastq.packet{of} k
  where k.shard = %(shard)s and not k.cut
    and k.pos = any (array(select a.packet from acked a where a.packet is not null))
    and k.pos between (select min(a.packet) from acked a) and (select max(a.packet) from acked a)
    and not exists (select from fastq.ready{of} r where r.shard = %(shard)s and r.packet = k.pos offset 0)
    and not exists (select from fastq.lease{of} l
                    where l.shard = %(shard)s and l.packet = k.pos and l.id <> all (%(acks)s::int8[]) offset 0)
),
forgotten as (
  delete from fastq.progress p using acked a where p.shard = %(shard)s and p.lease = a.id
)
