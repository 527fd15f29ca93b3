-- Forget the settings of the bench's own queue.
-- Locks: the queue's row by delete. Index: queue_pkey. Caller: bench.ground.
delete from fastq.queue q where q.name = %(queue)s
