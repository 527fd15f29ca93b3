-- Keep everybody out of a segment, or fail at once: a pg_dump or an open transaction of a producer is not waited for.
-- Locks: ready_{segment} access exclusive nowait. Index: none. Caller: protocol.rotate.
lock table fastq.ready_{segment} in access exclusive mode nowait
