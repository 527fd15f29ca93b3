-- Take the sole right to reap one worker, after waiting for a claim of its in flight; no row when it is gone.
-- Locks: worker row for update. Index: worker_pkey. Caller: protocol.reap.
select w.id from fastq.worker w where w.slot = %(slot)s and w.id = %(worker)s for update
