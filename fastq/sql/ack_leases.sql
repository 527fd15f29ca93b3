-- Delete leases whose jobs are all finished, with the packets that were theirs alone and with what their jobs made durable;
-- returns those that were still ours.
-- `acks` are in order. Their range says nothing new, but before PostgreSQL 17 a plan that was made while the table was
-- small reads every lease for `any` alone.
-- Locks: lease, packet and progress rows by delete. Index: lease_pkey, packet_*_pkey, progress_pkey. Caller: protocol.ack.
with acked as (
  delete from fastq.lease l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(acks)s::int8[])
    and l.id between (%(acks)s::int8[])[1] and (%(acks)s::int8[])[cardinality(%(acks)s::int8[])]
  returning l.id, l.packet
),
{ended},
forgotten as (
  delete from fastq.progress p using acked a where p.shard = %(shard)s and p.lease = a.id
)
select a.id from acked a
