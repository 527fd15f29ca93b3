-- The process that serves this connection: its id, and when it started in seconds of the Unix epoch.
-- Locks: none. Index: none. Caller: bench.meter.
select a.pid, extract(epoch from a.backend_start)::float8 from pg_stat_activity a where a.pid = pg_backend_pid()
