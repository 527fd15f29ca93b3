-- Let the lines go on whose heads completed in their own transactions, in leases of a worker that is being reaped, and
-- were not settled; returns how many did.
-- Function: advance_completed_lines(shard int4, worker int8) returns (advanced int8).
-- Locks: head rows for no key update; of lines that run empty, for update skip locked (the caller holds the leases).
-- Index: lease scan, progress_pkey, head_job. Caller: protocol.ordered.
with taken as materialized (
  select l.id as lease, u.ord, u.id, u.meta
  from fastq.lease l cross join lateral fastq.jobs_of(row(l.*)::fastq.lease) u
  where l.shard = %(shard)s and l.worker = %(worker)s
    and exists (select from fastq.progress p where p.shard = %(shard)s and p.lease = l.id and p.completed offset 0)
)
select count(*) filter (where fastq.advance(%(shard)s, t.id)) as advanced
from taken t
where fastq.ordered_of(t.meta) is not null
  and exists (select from fastq.progress p
              where p.shard = %(shard)s and p.lease = t.lease and p.ord = t.ord and p.completed offset 0)
