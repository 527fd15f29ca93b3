-- Forget up to `limit` commits of reservations that are older than `days`.
-- Locks: committed rows for update skip locked. Index: committed_age. Caller: protocol.reserve.
with old as materialized (
  select c.ctid as place from fastq.committed c
  where c.shard = %(shard)s and c.committed_at < now() - %(days)s * interval '1 day'
  order by c.committed_at
  limit %(limit)s
  for update skip locked
)
delete from fastq.committed c where c.shard = %(shard)s and c.ctid = any (array(select o.place from old o))
returning c.id
