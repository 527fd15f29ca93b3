-- The unfinished jobs of some leases of one worker, without their payloads. Jobs that completed in their own
-- transaction are not unfinished. Each comes with its last checkpoint and the retries it was granted, and with whether somebody has cancelled it.
-- Function: list_leased_jobs(shard int4, worker int8, leases int8[]) returns (lease int8, ord int2, id int8, task text,
-- attempt int2, meta text, checkpoint text, retries int2, cancelled bool, queue text).
-- Locks: none (the caller holds the worker's row). Index: lease scan, progress_pkey, cancellation_pkey.
-- Caller: protocol.reap.
select l.id as lease, u.ord, u.id, u.task, u.attempt, u.meta::text as meta, p.checkpoint::text as checkpoint, p.retries,
       exists (select from fastq.cancellation c where c.shard = %(shard)s and c.job = u.id) as cancelled, l.queue
from fastq.lease l cross join lateral fastq.jobs_of(row(l.*)::fastq.lease) u
left join fastq.progress p on p.shard = %(shard)s and p.lease = l.id and p.ord = u.ord
where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(leases)s::int8[]) and p.completed is not true
