-- The live workers of one fleet.
-- Locks: none. Index: worker_pkey. Caller: bench.ground.
select w.id, w.pid from fastq.worker w where w.shard = 0 and w.name = %(name)s and w.expires_at > now() order by w.id
