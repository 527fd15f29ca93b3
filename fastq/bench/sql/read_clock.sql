-- The database's time.
-- Locks: none. Index: none. Caller: bench.ground.
select clock_timestamp()
