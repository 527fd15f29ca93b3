-- The unfinished jobs of the leases of one worker, without their payloads. Jobs that completed in their own
-- transaction are not unfinished. Also the fallback when a batch cannot be decoded in one go: see read_leased_job.
-- Locks: none (the caller holds the worker's row). Index: lease scan. Caller: protocol.reap.
select l.id as lease, u.ord, u.id, u.task, u.attempt, u.meta::text as meta
from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done) u
where l.slot = %(slot)s and l.worker = %(worker)s
  and not exists (
    select from fastq.progress p where p.slot = %(slot)s and p.lease = l.id and p.ord = u.ord and p.completed)
