-- How many bytes of WAL this server has ever written.
-- Locks: none. Index: none. Caller: bench.meter.
select (pg_current_wal_insert_lsn() - '0/0')::int8
