-- The last block of places that was given out.
-- Locks: none. Index: none. Caller: protocol.discover.
select coalesce(pg_sequence_last_value('fastq.pos'), 0)
