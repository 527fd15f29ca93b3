-- Cancel all jobs that fit; returns how many are cancelled, and how many run and were marked for their workers.
-- Locks: ready and scheduled rows for update skip locked, marks by upsert. Index: ready_*_pkey with a queue, else a scan.
-- Stewards are told of the latter. Caller: protocol.jobs.
with done as materialized (
  select c.cancelled, c.cancelling
  from fastq.cancel_jobs(%(states)s::text[], %(queue)s::text, %(task)s::text, %(error)s::text, %(limit)s::int8) c
)
select d.cancelled, d.cancelling, case when d.cancelling > 0 then pg_notify('fastq', 'cancel')::text end as told from done d
