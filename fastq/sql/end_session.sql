-- End a session of this role that its client gave up, at least `age_s` seconds old: a younger one of that pid is another.
-- What it holds locked would keep others waiting until the server notices, which behind a proxy may be never.
-- Locks: none. Index: none. Caller: postgres.database.
select pg_terminate_backend(a.pid) from pg_stat_activity a
where a.pid = %(pid)s and a.usename = current_user and now() - a.backend_start >= %(age_s)s * interval '1 second'
