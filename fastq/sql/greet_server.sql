-- Return the session's process, and those of our settings (fastq/postgres/session.py) that it had otherwise, as name and value;
-- set them, unless a pooler is in between: that is another process than the login's, and others use its session too.
-- Let the server notice within half a minute that this host is gone, and drop what its transactions lock.
-- Locks: none. Index: none. Caller: postgres.database.
with odd as materialized (
  select w.name, w.value, current_setting(w.name, true) as theirs
  from unnest(%(names)s::text[], %(values)s::text[]) as w(name, value)
  where current_setting(w.name, true) <> w.value and current_setting(w.name, true) not like w.value || ', %%'
), mended as materialized (
  select o.name, o.theirs, case when pg_backend_pid() = %(pid)s then set_config(o.name, o.value, false) end as ours
  from odd o
)
select pg_backend_pid(), (select json_object_agg(m.name, m.theirs) from mended m where m.ours is distinct from m.theirs) as theirs,
       set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '25000', false)
