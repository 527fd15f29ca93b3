-- How many live workers there are that the bench did not start.
-- Locks: none. Index: worker_pkey. Caller: bench.ground.
select count(*) from fastq.worker w where w.shard = 0 and w.name not like 'fastq-bench%%' and w.expires_at > now()
