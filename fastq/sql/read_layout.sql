-- How many shards there are, over how many of them jobs with unique keys and ordered groups are spread, and whether on a cluster.
-- Locks: none. Index: none (a few rows). Caller: protocol.shards.
select max(s.value::text::int) filter (where s.name = 'shards') as shards,
       max(s.value::text::int) filter (where s.name = 'keyed_shards') as keyed,
       bool_or(s.name = 'citus') as cluster
from fastq.setting s where s.name in ('shards', 'keyed_shards', 'citus')
