-- Take a worker off the list; returns its id if it was there. One that still holds leases stays, to be reaped.
-- Function: delete_worker(shard int4, worker int8) returns (id int8).
-- Locks: worker row by delete. Index: worker_pkey, lease scan. Caller: protocol.worker, protocol.reap.
delete from fastq.worker w
where w.shard = %(shard)s and w.id = %(worker)s
  and not exists (select from fastq.lease l where l.shard = %(shard)s and l.worker = %(worker)s)
returning w.id
