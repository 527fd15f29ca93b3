-- The sessions that hear notifications, one of each host, in an order that all hosts see alike.
-- Locks: none. Index: none. Caller: steward.listener.
select a.pid from pg_stat_activity a
where a.application_name = 'fastq listener' and a.datname = current_database()
order by a.pid
