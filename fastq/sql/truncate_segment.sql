-- Give a segment's space back whatever the vacuum horizon is.
-- Locks: held by lock_segment. Index: none. Caller: protocol.rotate.
truncate fastq.ready_{segment}
