-- The untouched leases of one worker, for finding those whose claim committed while the connection broke.
-- Locks: none. Index: lease scan. Caller: protocol.claim.
select l.id, l.queue, l.priority, l.group_key, l.batch
from fastq.lease l
where l.slot = %(slot)s and l.worker = %(worker)s and l.done = '{}'
