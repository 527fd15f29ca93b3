-- Wait for whoever still writes to a worker's leases: a settlement in flight, a handler's own transaction. What they
-- committed is seen by the next statement.
-- Function: lock_leases(shard int4, worker int8) returns (id int8).
-- Locks: lease rows for update, in order of id. Index: lease scan. Caller: protocol.reap.
select l.id from fastq.lease l where l.shard = %(shard)s and l.worker = %(worker)s order by l.id for update
