-- Delete all jobs that fit and do not run; returns how many.
-- Locks: ready, scheduled and finished rows for update skip locked. Index: ready_*_pkey with a queue, else a scan.
-- Caller: protocol.jobs.
select fastq.delete_jobs(%(states)s::text[], %(queue)s::text, %(task)s::text, %(error)s::text, %(limit)s::int8) as deleted
