-- Put one kept job back into line; says whether this call did it.
-- Locks: the finished row by delete. Index: finished_pkey. Caller: protocol.jobs.
select fastq.retry(%(id)s::int8) as retried
