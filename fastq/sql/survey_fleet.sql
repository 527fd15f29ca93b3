-- What there is one of: schema version, shards, leader, and how many bytes the tables take with their indexes.
-- Locks: none. Index: none (tiny tables). Caller: insights.survey.
select (select max(m.version) from fastq.migration m) as schema,
       fastq.shards() as shards,
       (select l.holder from fastq.leader l where l.name = 'steward' and l.expires_at > now()) as leader,
       (select sum(pg_total_relation_size(p.inhrelid)) from pg_inherits p
        where p.inhparent = 'fastq.ready'::regclass)::int8 as ready_bytes,
       (select sum(pg_total_relation_size(p.inhrelid)) from pg_inherits p
        where p.inhparent = 'fastq.lease'::regclass)::int8 as lease_bytes,
       pg_total_relation_size('fastq.scheduled') as scheduled_bytes,
       pg_total_relation_size('fastq.finished') as finished_bytes
