-- Become or stay the leader of the fleet for `lease_s` seconds; no row when another host leads.
-- Locks: the leader row by upsert. Index: leader_pkey. Caller: protocol.upkeep.
insert into fastq.leader as l (name, holder, expires_at)
values ('steward', %(holder)s, now() + %(lease_s)s * interval '1 second')
on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
where l.holder = excluded.holder or l.expires_at < now()
returning holder
