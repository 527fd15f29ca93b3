-- The segments in which a queue has jobs.
-- Locks: none. Index: ready_*_pkey. Caller: bench.ground.
select s.segment
from generate_series(0, 3) as s(segment)
where exists (select from fastq.ready r where r.segment = s.segment and r.shard = 0 and r.queue = %(queue)s)
order by s.segment
