-- Delete one job that does not run; returns the state it was in: 'running' when it runs and stays, null when it is gone.
-- Locks: the job's row by delete. Index: see fastq.find. Caller: protocol.jobs.
select fastq.delete(%(id)s::int8) as state
