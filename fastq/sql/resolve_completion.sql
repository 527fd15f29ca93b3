-- Find out whether a transaction that completed a job was committed, when the answer to its commit was lost: waits for
-- one still in flight. No row when the lease is gone.
-- Function: resolve_completion(shard int4, lease int8, ord int2) returns (completed bool).
-- Locks: the lease row key share, the progress row by upsert. Index: lease_pkey, progress_pkey. Caller: protocol.completion.
insert into fastq.progress as p (shard, lease, ord, completed)
select %(shard)s, l.id, %(ord)s, false
from fastq.lease l
where l.shard = %(shard)s and l.id = %(lease)s
for key share
on conflict (shard, lease, ord) do update set completed = p.completed
returning p.completed
