-- Who keeps vacuum from removing dead rows for longer than `old_s` seconds: sessions, prepared transactions, replication slots.
-- Locks: none. Index: none. Caller: insights.facts.
select 'session' as kind, a.pid::text as name, coalesce(a.application_name, '') as application,
       coalesce(a.usename::text, '') as role, extract(epoch from now() - a.xact_start)::float8 as age_s, left(a.query, 120) as query
from pg_stat_activity a
where a.backend_xmin is not null and a.datname = current_database() and a.pid <> pg_backend_pid()
  and a.xact_start < now() - %(old_s)s * interval '1 second'
union all
select 'prepared transaction', p.gid, '', p.owner::text, extract(epoch from now() - p.prepared)::float8, ''
from pg_prepared_xacts p
where p.database = current_database() and p.prepared < now() - %(old_s)s * interval '1 second'
union all
select 'replication slot', s.slot_name::text, coalesce(s.plugin::text, ''), '', null, ''
from pg_replication_slots s
where (s.xmin is not null or s.catalog_xmin is not null) and not s.active
order by age_s desc nulls last
limit 20
