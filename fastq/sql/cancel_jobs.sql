-- Cancel all jobs that fit; returns how many are cancelled, and how many run and were marked for their workers.
-- Locks: ready and scheduled rows for update skip locked, marks by upsert, the notify lock with a mark.
-- Index: ready_*_pkey with a queue, else a scan. Caller: protocol.jobs.
select c.cancelled, c.cancelling
from fastq.cancel_jobs(%(states)s::text[], %(queue)s::text, %(task)s::text, %(error)s::text, %(limit)s::int8) c
