-- As find_finished_jobs, on a cluster, whose nodes look at the same time.
-- Locks: none. Index: finished_pkey. Caller: protocol.results.
select f.id, f.state, f.result::text as result, f.meta::text as meta
from fastq.finished f
where f.id = any (%(ids)s::int8[])
