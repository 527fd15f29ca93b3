-- Delete up to `limit` unique keys whose time is over. (Until then they are free all the same: who wants one takes it over.)
-- Locks: unique_key rows for update skip locked. Index: unique_key_expiry. Caller: protocol.unique.
with old as materialized (
  select k.ctid as place from fastq.unique_key k
  where k.shard = %(shard)s and k.expires_at <= now()
  order by k.expires_at limit %(limit)s
  for update skip locked
)
delete from fastq.unique_key k where k.shard = %(shard)s and k.ctid = any (array(select o.place from old o))
returning k.key
