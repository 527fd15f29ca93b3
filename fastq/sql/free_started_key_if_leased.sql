-- Give a key back that is held until its job starts, before it starts. No row when its lease is gone or the job is done.
-- Function: free_started_key(shard int4, worker int8, lease int8, ord int2, job int8) returns (id int8).
-- Locks: the lease row key share; the unique_key row for update skip locked. Index: lease_pkey, unique_key_job.
-- Caller: protocol.unique.
with held as materialized (
  select l.id from fastq.lease l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = %(lease)s and %(ord)s <> all (l.done)
  for key share
),
mine as materialized (
  select k.key from fastq.unique_key k
  where k.shard = %(shard)s and k.job = %(job)s and k.held_until = 'started' and exists (select from held h)
  for update skip locked
),
freed as (
  delete from fastq.unique_key k using mine m where k.shard = %(shard)s and k.key = m.key and k.job = %(job)s
)
select h.id from held h
