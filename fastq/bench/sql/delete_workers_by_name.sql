-- Delete the worker rows of the bench's claimants, which have no steward to do it.
-- Locks: worker rows by delete. Index: none (a scan; there are few). Caller: bench.ground.
delete from fastq.worker w where w.name = %(name)s
