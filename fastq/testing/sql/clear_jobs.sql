-- Delete every job, in whatever state.
-- Locks: access exclusive on the tables of jobs. Index: none. Caller: testing.databases.
truncate fastq.ready, fastq.lease, fastq.scheduled, fastq.finished, fastq.progress, fastq.unique_key,
         fastq.line, fastq.head
