-- Keep what a running job wants its next attempt to see; no row when its lease is gone.
-- Function: save_checkpoint(shard int4, lease int8, ord int2, checkpoint json, retries int2) returns (ord int2).
-- Locks: the lease row key share, the progress row by upsert. Index: lease_pkey, progress_pkey. Caller: protocol.completion.
insert into fastq.progress as p (shard, lease, ord, checkpoint, retries)
select %(shard)s, l.id, %(ord)s, %(checkpoint)s::json, %(retries)s::int2
from fastq.lease l
where l.shard = %(shard)s and l.id = %(lease)s
for key share
on conflict (shard, lease, ord) do update
  set checkpoint = excluded.checkpoint, retries = coalesce(excluded.retries, p.retries), written_at = now()
returning p.ord
