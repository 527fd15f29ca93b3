-- Keep a lease from being deleted or reaped until this transaction ends; no row when it is gone.
-- Locks: the lease row key share (an ack of its neighbours goes on, a reaper waits). Index: lease_pkey.
-- Caller: protocol.completion.
select l.id from fastq.lease l where l.slot = %(slot)s and l.id = %(lease)s for key share
