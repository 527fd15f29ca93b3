-- Cancel one job: 'cancelled', or 'cancelling' when it runs and its worker has to end it; null when there is nothing to cancel.
-- Locks: the job's row by delete, or its mark by upsert and the notify lock. Index: see fastq.find. Caller: protocol.jobs.
select fastq.cancel(%(id)s::int8)
