-- The database's time, from which a schedule's first occurrence is counted.
-- Locks: none. Index: none. Caller: protocol.cron.
select now()
