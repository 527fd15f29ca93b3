-- The workers whose time has run out.
-- Locks: none. Index: worker_pkey. Caller: protocol.reap.
select w.id from fastq.worker w where w.shard = %(shard)s and w.expires_at < now() order by w.id limit 100
