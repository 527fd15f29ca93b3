-- Write down that one job of a lease is done, in the transaction of its handler; no row when it was done before.
-- Function: complete_job(shard int4, lease int8, ord int2) returns (ord int2).
-- Locks: the progress row by upsert. Index: progress_pkey. Caller: protocol.completion.
insert into fastq.progress as p (shard, lease, ord, completed) values (%(shard)s, %(lease)s, %(ord)s, true)
on conflict (shard, lease, ord) do update set completed = true, written_at = now() where not p.completed
returning p.ord
