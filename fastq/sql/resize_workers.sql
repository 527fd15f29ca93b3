-- Ask the supervisors of a host, or of all, for so many processes and jobs at once; says how many workers were told.
-- Locks: worker rows by update. Index: worker scan (a few rows). Caller: protocol.worker.
select fastq.resize(%(host)s::text, %(processes)s::int, %(concurrency)s::int)
