-- Delete what stands in the bench's own queue.
-- Locks: ready rows by delete. Index: ready_*_pkey, once per slot. Caller: bench.ground.
delete from fastq.ready r using fastq.ring s where r.slot = s.slot and r.queue = %(queue)s
