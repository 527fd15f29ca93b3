-- Change a job that waits: what is given of its queue, priority, arguments and time; false when it does not wait (any more).
-- Locks: the job's row by delete, its unique key by update. Index: see fastq.find. Caller: protocol.jobs.
select fastq.edit(%(id)s::int8, %(queue)s::text, %(priority)s::int4, %(args)s::json, %(run_at)s::timestamptz) as edited
