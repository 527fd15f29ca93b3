-- Forget what the jobs of acknowledged leases made durable on the way.
-- Locks: progress rows by delete. Index: progress_pkey. Caller: protocol.completion.
delete from fastq.progress p where p.slot = %(slot)s and p.lease = any (%(leases)s)
