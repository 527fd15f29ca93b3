-- Make sure that nobody writes into a table or vacuums it, or fail at once: an open transaction of a producer is not waited
-- for, nor do readers have to wait behind whoever waits for it.
-- Locks: {table} share nowait, for the moment. Index: none. Caller: protocol.rotate.
lock table fastq.{table} in share mode nowait
