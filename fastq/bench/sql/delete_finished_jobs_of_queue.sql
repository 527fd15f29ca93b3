-- Delete the bench's own jobs that failed for good.
-- Locks: finished rows by delete. Index: none (a scan). Caller: bench.ground.
delete from fastq.finished f where f.queue = %(queue)s
