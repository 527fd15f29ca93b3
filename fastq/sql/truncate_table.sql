-- Give a segment's space back whatever the vacuum horizon is.
-- Locks: held by lock_out_readers. Index: none. Caller: protocol.rotate.
truncate fastq.{table}
