-- Delete all leases of a worker but those that are stuck, with what their jobs made durable on the way.
-- Function: delete_leases(shard int4, worker int8, stuck int8[]) returns (id int8).
-- Locks: lease and progress rows by delete. Index: lease scan, progress_pkey. Caller: protocol.reap.
with gone as (
  delete from fastq.lease l where l.shard = %(shard)s and l.worker = %(worker)s and l.id <> all (%(stuck)s::int8[]) returning l.id
), forgotten as (
  delete from fastq.progress p using gone g where p.shard = %(shard)s and p.lease = g.id
)
select g.id from gone g
