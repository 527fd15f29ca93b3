-- Delete the bench's own jobs that failed and wait to be tried again.
-- Locks: scheduled rows by delete. Index: none (a scan). Caller: bench.ground.
delete from fastq.scheduled s where s.queue = %(queue)s
