-- Delete up to `limit` reserved jobs whose time is over, free their keys, and let the lines go on in which they had a place.
-- One that is being committed is left alone: its row is locked, and whether it is still reserved is looked at again when the
-- lock is there.
-- Function: expire_reserved_jobs(shard int4, limit int8) returns (id int8, passed bool).
-- Locks: scheduled rows for update skip locked, then unique_key rows likewise; of ordered jobs the line's and the head's row.
-- Index: scheduled_reserved, unique_key_job, line_job, head_job.
-- Caller: protocol.reserve.
with late as materialized (
  select s.ctid as place from fastq.scheduled s
  where s.shard = %(shard)s and s.reason = 'reserved' and s.run_at <= now()
  order by s.run_at
  limit %(limit)s
  for update skip locked
),
gone as (
  delete from fastq.scheduled s
  where s.shard = %(shard)s and s.ctid = any (array(select l.place from late l)) and s.reason = 'reserved' and s.run_at <= now()
  returning s.id, s.meta
),
free as materialized (
  select h.place from gone g cross join lateral (
    select k.ctid as place from fastq.unique_key k where k.shard = %(shard)s and k.job = g.id for update skip locked) h
),
freed as (
  delete from fastq.unique_key k where k.shard = %(shard)s and k.ctid = any (array(select f.place from free f))
)
select g.id, case when fastq.ordered_of(g.meta) is not null then fastq.leave_lines(%(shard)s::int4, array[g.id]) is null end as passed
from gone g
