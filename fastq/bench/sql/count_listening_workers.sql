-- How many workers of a fleet have looked for jobs once and wait now, and whether their steward listens.
-- Locks: none. Index: none. Caller: bench.ground.
select count(*) filter (where a.application_name = %(application)s and a.query like '%%fastq.ready_%%') as workers,
       count(*) filter (where a.application_name = 'fastq listener' and a.backend_start >= %(since)s) as listeners
from pg_stat_activity a
where a.datname = current_database() and a.state = 'idle'
