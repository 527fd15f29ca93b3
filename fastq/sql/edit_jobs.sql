-- Move all jobs that fit and wait to another queue, give them another priority, or let them run now; returns how many.
-- Locks: ready and scheduled rows for update skip locked, unique keys by update. Index: ready_*_pkey with a queue, else a scan.
-- Caller: protocol.jobs.
select fastq.edit_jobs(%(states)s::text[], %(queue)s::text, %(task)s::text, %(error)s::text, %(limit)s::int8, %(to_queue)s::text,
                       %(to_priority)s::int4, %(now)s::boolean) as edited
