-- Keep everybody out of a segment, or fail after `limit_lock_wait`: looks at all lanes take milliseconds, a pg_dump hours.
-- Locks: {table} access exclusive. Index: none. Caller: protocol.rotate.
lock table fastq.{table} in access exclusive mode
