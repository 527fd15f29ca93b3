-- Ask the supervisors of a host, or of all, to drain; says how many workers were told.
-- Locks: worker rows by update. Index: worker scan (a few rows). Caller: protocol.worker.
select fastq.drain(%(host)s::text)
