-- Delete the leases of the bench's own queue.
-- Locks: lease rows by delete. Index: none (a scan; there are few). Caller: bench.ground.
delete from fastq.lease l where l.queue = %(queue)s
