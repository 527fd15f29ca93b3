-- Stop claims from a queue; says whether they were allowed before.
-- Locks: the queue's row by upsert. Index: queue_pkey. Caller: protocol.queues.
select fastq.pause(%(queue)s::text) as paused
