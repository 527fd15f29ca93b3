-- Give a segment's space back whatever the vacuum horizon is.
-- Locks: held by lock_out_everybody. Index: none. Caller: protocol.rotate.
truncate fastq.{table}
