-- Keep everybody out of a table, or fail after `limit_lock_wait`: looks at all lanes take milliseconds, a pg_dump hours.
-- Its transaction holds no other lock of the table: a claim that has the first of its two, and waits for the second behind
-- that lock, would be in a deadlock with it.
-- Locks: {table} access exclusive. Index: none. Caller: protocol.rotate.
lock table fastq.{table} in access exclusive mode
