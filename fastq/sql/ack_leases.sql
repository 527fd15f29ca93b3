-- Delete leases whose jobs are all finished, with what their jobs made durable; returns those that were still ours.
-- Locks: lease and progress rows by delete. Index: lease_pkey, progress_pkey. Caller: protocol.ack.
with gone as (
  delete from fastq.lease l where l.slot = %(slot)s and l.worker = %(worker)s and l.id = any (%(leases)s) returning l.id
), forgotten as (
  delete from fastq.progress p using gone g where p.slot = %(slot)s and p.lease = g.id
)
select g.id from gone g
