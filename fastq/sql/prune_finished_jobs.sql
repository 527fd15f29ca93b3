-- Delete up to `limit` kept jobs whose time is over.
-- Locks: finished rows for update skip locked. Index: finished_expiry. Caller: protocol.upkeep.
with old as materialized (
  select f.ctid as place from fastq.finished f
  where f.shard = %(shard)s and f.expires_at <= now()
  order by f.expires_at limit %(limit)s
  for update skip locked
)
delete from fastq.finished f where f.shard = %(shard)s and f.ctid = any (array(select o.place from old o))
returning f.id
