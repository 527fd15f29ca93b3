-- How a job ended, if it is kept.
-- Locks: none. Index: finished_pkey. Caller: protocol.results.
select f.state, f.result::text as result, f.meta::text as meta
from fastq.finished f
where f.shard = %(shard)s and f.id = %(id)s
