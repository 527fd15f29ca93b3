-- Take the right to be the one bench of this database, for as long as the connection lives.
-- Locks: a session advisory lock. Index: none. Caller: bench.ground.
select pg_try_advisory_lock(%(key)s)
