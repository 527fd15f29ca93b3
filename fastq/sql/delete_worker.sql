-- Take a worker off the list; its leases must be gone. Returns its id if it was there.
-- Locks: worker row by delete. Index: worker_pkey. Caller: protocol.worker, protocol.reap.
delete from fastq.worker w where w.slot = %(slot)s and w.id = %(worker)s returning w.id
