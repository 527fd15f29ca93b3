-- The row of a worker, if its time has not run out; no row when it was, or will be, given up.
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
select w.id from fastq.worker w where w.slot = %(slot)s and w.id = %(worker)s and w.expires_at > now()
