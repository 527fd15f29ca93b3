-- Keep everybody from writing into a segment, or fail at once: an open transaction of a producer is not waited for.
-- Locks: {table} share nowait. Index: none. Caller: protocol.rotate.
lock table fastq.{table} in share mode nowait
