-- How many shards there are, and over how many of them jobs with unique keys and ordered groups are spread.
-- Locks: none. Index: none (a few rows). Caller: protocol.shards.
select max(s.value::text::int) filter (where s.name = 'shards') as shards,
       max(s.value::text::int) filter (where s.name = 'keyed_shards') as keyed
from fastq.setting s where s.name in ('shards', 'keyed_shards')
