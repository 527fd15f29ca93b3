-- Return the session's process; let the server notice within half a minute that this host is gone, and drop what its
-- transactions lock. (Behind a pooler that is another process than the login's, and the other end of its own line.)
-- Locks: none. Index: none. Caller: database.
select pg_backend_pid(), set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '25000', false)
