-- The tables of fastq: how many dead rows they have, and whether somebody has turned autovacuum off for them.
-- Locks: none. Index: none. Caller: insights.facts.
select s.relname::text as name, greatest(s.n_live_tup, c.reltuples::int8) as live, s.n_dead_tup as dead, pg_table_size(s.relid) as bytes,
       coalesce(c.reloptions @> array['autovacuum_enabled=off'] or c.reloptions @> array['autovacuum_enabled=false'], false) as off
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where s.schemaname = 'fastq'
order by s.relname
