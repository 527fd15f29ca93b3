-- Delete leases whose jobs are all finished, with what their jobs made durable; returns those that were still ours.
-- `leases` are in order. Their range says nothing new, but before PostgreSQL 17 a plan that was made while the table was
-- small reads every lease for `any` alone.
-- Locks: lease and progress rows by delete. Index: lease_pkey, progress_pkey. Caller: protocol.ack.
with gone as (
  delete from fastq.lease l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(leases)s::int8[])
    and l.id between (%(leases)s::int8[])[1] and (%(leases)s::int8[])[cardinality(%(leases)s::int8[])]
  returning l.id
), forgotten as (
  delete from fastq.progress p using gone g where p.shard = %(shard)s and p.lease = g.id
)
select g.id from gone g
