-- Show how far a running job has come; no row when its lease is gone. Nothing depends on it, so its commit is not waited for.
-- Function: tell_progress(shard int4, lease int8, ord int2, share float8, note text) returns (ord int2, quick text).
-- Locks: the lease row key share, the progress row by upsert. Index: lease_pkey, progress_pkey. Caller: protocol.completion.
insert into fastq.progress as p (shard, lease, ord, share, note)
select %(shard)s, l.id, %(ord)s, %(share)s::float8, %(note)s
from fastq.lease l
where l.shard = %(shard)s and l.id = %(lease)s
for key share
on conflict (shard, lease, ord) do update set share = excluded.share, note = excluded.note, written_at = now()
returning p.ord, set_config('synchronous_commit', 'off', true) as quick
