-- How jobs ended, those that are kept, in whatever shard.
-- Locks: none. Index: finished_pkey. Caller: protocol.results.
select f.id, f.state, f.result::text as result, f.meta::text as meta
from generate_series(0, fastq.shards() - 1) as sh(shard)
join fastq.finished f on f.shard = sh.shard and f.id = any (%(ids)s::int8[])
