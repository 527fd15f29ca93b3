-- What doctor wants to know of the server.
-- Locks: none. Index: none. Caller: insights.facts.
select current_setting('server_version_num')::int4 as version, current_setting('autovacuum') = 'on' as autovacuum,
       current_setting('fsync') = 'on' as fsync,
       coalesce((select s.setting from pg_settings s where s.name = 'synchronous_commit' and s.source <> 'session'),
                current_setting('synchronous_commit')) as synchronous_commit,
       current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4 as connections,
       (select count(*) from pg_stat_activity a where a.backend_type = 'client backend') as used,
       (select count(*) from pg_stat_activity a
        where a.application_name = 'fastq listener' and a.datname = current_database()) as listeners,
       extract(epoch from clock_timestamp())::float8 as now_s,
       pg_is_in_recovery() as standby,
       coalesce((select a.attcompression from pg_attribute a
                 where a.attrelid = 'fastq.packet_0'::regclass and a.attname = 'payloads'), '')::text as compression
