-- How many of the bench's jobs went elsewhere than away.
-- Locks: none. Index: none (scans). Caller: bench.ground.
select (select count(*) from fastq.scheduled s where s.queue = %(queue)s)
     + (select count(*) from fastq.finished f where f.queue = %(queue)s) as misses
