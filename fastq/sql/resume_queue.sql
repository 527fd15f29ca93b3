-- Allow claims from a queue again and wake the fleet; says whether they were stopped before.
-- Locks: the queue's row by update, the notify lock. Index: queue_pkey. Caller: protocol.queues.
select fastq.resume(%(queue)s::text) as resumed
