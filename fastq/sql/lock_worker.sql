-- Take the sole right to reap one worker; no row when it is gone, or a claim or another reaper holds it.
-- Locks: worker row for update skip locked. Index: worker_pkey. Caller: protocol.reap.
select w.id from fastq.worker w where w.slot = %(slot)s and w.id = %(worker)s for update skip locked
