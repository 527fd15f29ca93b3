-- Whether there are reserved jobs whose time is over.
-- Run over many shards at once: `over_shards`.
-- Locks: none. Index: scheduled_reserved. Caller: steward.pruner.
select 1 as found from fastq.scheduled s where s.shard = %(shard)s and s.reason = 'reserved' and s.run_at <= now() limit 1
