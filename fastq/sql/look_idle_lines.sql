-- Whether ordered lines wait to go on that were left to the leader.
-- Run over many shards at once: `over_shards`.
-- Locks: none. Index: head_job. Caller: steward.lines.
select 1 as found from fastq.head h where h.shard = %(shard)s and h.job is null limit 1
