-- Delete the leases in `acks`, which are in order, and what their jobs made durable. Their packets are left to the steward.
acked as (
  delete from fastq.lease{of} l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(acks)s::int8[])
    and l.id between (%(acks)s::int8[])[1] and (%(acks)s::int8[])[cardinality(%(acks)s::int8[])]
  returning l.id
),
forgotten as (
  delete from fastq.progress p using acked a where p.shard = %(shard)s and p.lease = a.id
)
