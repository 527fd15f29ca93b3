-- Whether there are jobs in line.
-- Run over many shards at once: `over_shards`.
-- Locks: none. Index: ready_*_pkey. Caller: steward.relay.
select 1 as found from fastq.ready r where r.shard = %(shard)s limit 1
