-- Put all kept jobs back into line that fit, those first that finished first; returns how many.
-- Locks: finished rows for update skip locked. Index: finished_by_state, else a scan. Caller: protocol.jobs.
select fastq.retry_jobs(%(states)s::text[], %(queue)s::text, %(task)s::text, %(error)s::text, %(limit)s::int8) as retried
