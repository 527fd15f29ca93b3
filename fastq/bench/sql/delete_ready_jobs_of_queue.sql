-- Delete what stands in the bench's own queue.
-- Locks: ready rows by delete. Index: ready_*_pkey, once per shard. Caller: bench.ground.
delete from fastq.ready r using fastq.ring s where r.shard = s.shard and r.queue = %(queue)s
