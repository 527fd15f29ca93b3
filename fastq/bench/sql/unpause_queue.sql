-- Let the workers take from a queue.
-- Locks: the queue's row by update. Index: queue_pkey. Caller: bench.ground.
update fastq.queue q set paused = false where q.name = %(queue)s
