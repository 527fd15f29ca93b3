-- The running jobs of some workers that somebody wants to end: for the steward, to be put on the board.
-- Function: list_cancellations(shard int4, workers int8[], limit int8) returns (worker int8, lease int8, ord int2, job int8).
-- Locks: none. Index: cancellation scan (a few rows), lease_pkey. Caller: protocol.jobs.
select l.worker, c.lease, c.ord, c.job
from fastq.cancellation c
join fastq.lease l on l.shard = %(shard)s and l.id = c.lease and c.ord <> all (l.done)
where c.shard = %(shard)s and l.worker = any (%(workers)s)
order by c.asked_at, c.job
limit %(limit)s
