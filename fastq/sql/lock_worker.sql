-- Take the sole right to reap one worker, after waiting for a claim of its in flight; no row when it is gone, or when it
-- was to be reaped for its time (`expired`) and has been renewed meanwhile.
-- Function: lock_worker(shard int4, worker int8, expired bool) returns (id int8).
-- Locks: worker row for update. Index: worker_pkey. Caller: protocol.reap.
select w.id from fastq.worker w where w.shard = %(shard)s and w.id = %(worker)s and (not %(expired)s or w.expires_at < now()) for update
