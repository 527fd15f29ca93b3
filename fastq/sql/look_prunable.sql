-- Whether there is anything whose time may be over, or a unique key, whose job may be gone.
-- Run over many shards at once: `over_shards`.
-- Locks: none. Index: finished_expiry, unique_key_pkey, committed_age. Caller: steward.pruner.
select 1 as found
where exists (select from fastq.finished f where f.shard = %(shard)s and f.expires_at <= now())
   or exists (select from fastq.unique_key k where k.shard = %(shard)s)
   or exists (select from fastq.committed c where c.shard = %(shard)s and c.committed_at < now() - interval '7 days')
