-- Spread jobs with unique keys and ordered groups over all shards from now on, if there are none; says whether they are.
-- Locks: unique_key, line and head as tables, share row exclusive, for a moment. Index: none. Caller: protocol.upkeep.
select fastq.spread_ties() or fastq.keyed_shards() >= fastq.shards() as spread
