-- Whether a worker is in time; no row when it was given up. One that is not may still be renewed, or reaped.
-- Function: find_worker(shard int4, worker int8) returns (in_time bool).
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
select w.expires_at > now() as in_time from fastq.worker w where w.shard = %(shard)s and w.id = %(worker)s
