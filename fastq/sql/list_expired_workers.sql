-- The workers whose time has run out.
-- Function: list_expired_workers(shard int4) returns (id int8).
-- Locks: none. Index: worker_pkey. Caller: protocol.reap.
select w.id from fastq.worker w where w.shard = %(shard)s and w.expires_at < now() order by w.id limit 100
