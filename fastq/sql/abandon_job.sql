-- Delete a reserved job, and free its key; says whether this call did it.
-- Locks: the scheduled row by delete, the unique_key row for update skip locked. Index: scheduled_pkey, unique_key_job.
-- Caller: protocol.reserve.
select fastq.abandon(%(id)s::int8) as abandoned
