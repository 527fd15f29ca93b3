-- How many transactions have begun since the oldest that a session's snapshot still sees as running.
-- Locks: none. Index: none. Caller: bench.pinned.
select age(a.backend_xmin) from pg_stat_activity a where a.pid = %(pid)s
