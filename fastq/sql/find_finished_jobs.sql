-- How jobs ended, those that are kept.
-- Locks: none. Index: finished_pkey. Caller: protocol.results.
select f.id, f.state, f.result::text as result, f.meta::text as meta
from fastq.finished f
where f.shard = %(shard)s and f.id = any (%(ids)s::int8[])
