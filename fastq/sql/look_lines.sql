-- Whether there are ordered lines.
-- Run over many shards at once: `over_shards`.
-- Locks: none. Index: head_pkey, line_pkey. Caller: steward.lines.
select 1 as found
where exists (select from fastq.head h where h.shard = %(shard)s) or exists (select from fastq.line l where l.shard = %(shard)s)
