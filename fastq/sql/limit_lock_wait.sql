-- Wait no longer than so many ms for a lock, in this transaction.
-- Locks: none. Index: none. Caller: protocol.rotate.
select set_config('lock_timeout', %(ms)s::int::text, true)
