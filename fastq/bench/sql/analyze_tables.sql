-- Vacuum the tables that a run goes through, so that each repetition starts alike.
-- Locks: share update exclusive. Index: none. Caller: bench.ground.
vacuum (analyze) fastq.ready_0, fastq.ready_1, fastq.ready_2, fastq.ready_3, fastq.lease
