-- Let the lines go on whose heads completed in their own transactions, in leases of a worker that is being reaped, and
-- were not settled; returns how many did.
-- Locks: head rows for no key update; of lines that run empty, for update skip locked (the caller holds the leases).
-- Index: lease scan, progress_pkey, head_job. Caller: protocol.ordered.
select count(*) filter (where fastq.advance(%(shard)s, u.id)) as advanced
from fastq.lease l
join fastq.progress p on p.shard = %(shard)s and p.lease = l.id and p.completed
cross join lateral fastq.jobs_of(l) u
where l.shard = %(shard)s and l.worker = %(worker)s and u.ord = p.ord and fastq.ordered_of(u.meta) is not null
