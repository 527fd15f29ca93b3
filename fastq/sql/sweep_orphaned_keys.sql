-- The safety net of unique jobs: of `limit` keys behind `after`, delete those whose job neither waits nor runs any more.
-- All places are looked at in one snapshot, in which every living job is in one of them. Only keys are deleted that have
-- been held for a minute, so that a key taken again by the same job since that snapshot is another one.
-- Returns how many were deleted, and the key to go on behind; null when there are no more.
-- `offset 0` keeps the probes from becoming joins with whole tables.
-- Function: sweep_orphaned_keys(shard int4, after text, limit int8) returns (keys int8, after text).
-- Locks: unique_key rows for update skip locked. Index: unique_key_pkey, scheduled_pkey, line_job, ready_*_pkey,
-- ready_*_shard_id_idx; all leases, if a job is in none of these. Caller: protocol.unique.
with page as materialized (
  select k.key, k.job, k.held_until, k.taken_at, k.queue, k.priority, k.group_key
  from fastq.unique_key k
  where k.shard = %(shard)s and k.key > %(after)s
  order by k.key
  limit %(limit)s
),
missing as materialized (
  select p.key, p.job, p.taken_at
  from page p
  where p.held_until <> 'time' and p.taken_at < now() - interval '1 minute'
    and not exists (select from fastq.scheduled s where s.shard = %(shard)s and s.id = p.job offset 0)
    and not exists (select from fastq.line o where o.shard = %(shard)s and o.pos = p.job offset 0)
    and not exists (select from fastq.ready r where r.shard = %(shard)s and r.id = p.job offset 0)
    and not exists (
      select from fastq.ready r
      where r.shard = %(shard)s and r.queue = p.queue and r.priority = p.priority and r.group_key = p.group_key
        and r.pos = p.job and r.id is null offset 0)
),
running as materialized (
  select j.id
  from fastq.lease l cross join lateral fastq.try_jobs_of(row(l.*)::fastq.lease) j
  where l.shard = %(shard)s and l.packet is null and exists (select from missing m)
),
orphan as materialized (
  select k.key
  from missing m join fastq.unique_key k on k.shard = %(shard)s and k.key = m.key and k.job = m.job and k.taken_at = m.taken_at
  where not exists (select from running r where r.id = m.job)
  for update of k skip locked
),
gone as (
  delete from fastq.unique_key k using orphan o where k.shard = %(shard)s and k.key = o.key
  returning k.key
)
select (select count(*) from gone) as keys,
       (select case when count(*) = %(limit)s then max(p.key) end from page p) as after
