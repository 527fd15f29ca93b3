-- Delete all jobs of a queue that wait; returns how many.
-- Locks: ready and scheduled rows for update skip locked. Index: ready_*_pkey, scheduled by a scan. Caller: protocol.queues.
select fastq.purge(%(queue)s::text) as deleted
