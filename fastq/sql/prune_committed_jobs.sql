-- Forget up to `limit` commits of reservations that are older than `days`.
-- Locks: committed rows for update skip locked. Index: committed_age. Caller: protocol.reserve.
with old as materialized (
  select c.id from fastq.committed c
  where c.slot = %(slot)s and c.committed_at < now() - %(days)s * interval '1 day'
  order by c.committed_at
  limit %(limit)s
  for update skip locked
)
delete from fastq.committed c using old o where c.slot = %(slot)s and c.id = o.id
returning c.id
