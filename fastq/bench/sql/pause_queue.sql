-- Make a queue that no worker takes from.
-- Locks: the queue's row by upsert. Index: queue_pkey. Caller: bench.ground.
insert into fastq.queue as q (name, paused) values (%(queue)s, true)
on conflict (name) do update set paused = true
