-- Give a job's unique key back, unless it is held for a time, in the transaction that completes the job.
-- Function: free_key(shard int4, job int8) returns (key text).
-- Locks: the unique_key row for update skip locked (who is at it has the time to delete it). Index: unique_key_job.
-- Caller: protocol.completion.
with mine as materialized (
  select k.key from fastq.unique_key k
  where k.shard = %(shard)s and k.job = %(job)s and k.held_until <> 'time'
  for update skip locked
)
delete from fastq.unique_key k using mine m where k.shard = %(shard)s and k.key = m.key and k.job = %(job)s
returning k.key
