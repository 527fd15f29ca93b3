-- Become or stay the leader of the fleet for `lease_s` seconds; tells whether that is so, and otherwise for how many seconds
-- another host leads. While one does nothing is written, and no row is locked.
-- Locks: the leader row by upsert. Index: leader_pkey. Caller: protocol.upkeep.
with taken as (
  insert into fastq.leader as l (name, holder, expires_at)
  select 'steward', %(holder)s, now() + %(lease_s)s * interval '1 second'
  where not exists (
    select from fastq.leader o where o.name = 'steward' and o.holder <> %(holder)s and o.expires_at >= now())
  on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
  where l.holder = excluded.holder or l.expires_at < now()
  returning l.holder
)
select exists (select from taken) as won,
       (select extract(epoch from o.expires_at - now())::float8 from fastq.leader o where o.name = 'steward') as left_s
