-- Delete leases whose jobs are all finished; returns those that were still ours.
-- Locks: lease rows by delete. Index: lease_pkey. Caller: protocol.ack.
delete from fastq.lease l where l.slot = %(slot)s and l.worker = %(worker)s and l.id = any (%(leases)s)
returning l.id
