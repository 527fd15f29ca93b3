-- Estimate what is too much to count: the jobs by state and queue, from about `pages` pages of each table.
-- Off by a few percent where a queue has many jobs; a small queue may be missing, its exact count is known otherwise.
-- Locks: none. Index: none (a sample of pages, so the cost does not grow with the tables). Caller: insights.survey.
with size as materialized (
  select c.oid, least(100.0, 100.0 * %(pages)s / greatest(1, pg_relation_size(c.oid) / current_setting('block_size')::int8))::float8
    as percent
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'fastq' and c.relname in ('ready_0', 'ready_1', 'ready_2', 'ready_3', 'scheduled', 'finished')
),
share as materialized (
  select (select s.percent from size s where s.oid = 'fastq.ready_0'::regclass) as ready_0,
         (select s.percent from size s where s.oid = 'fastq.ready_1'::regclass) as ready_1,
         (select s.percent from size s where s.oid = 'fastq.ready_2'::regclass) as ready_2,
         (select s.percent from size s where s.oid = 'fastq.ready_3'::regclass) as ready_3,
         (select s.percent from size s where s.oid = 'fastq.scheduled'::regclass) as scheduled,
         (select s.percent from size s where s.oid = 'fastq.finished'::regclass) as finished
),
seen as (
  select 'ready' as state, r.queue, coalesce(r.jobs, 1) * 100 / (select h.ready_0 from share h) as weight
  from fastq.ready_0 r tablesample system ((select h.ready_0 from share h))
  union all
  select 'ready', r.queue, coalesce(r.jobs, 1) * 100 / (select h.ready_1 from share h)
  from fastq.ready_1 r tablesample system ((select h.ready_1 from share h))
  union all
  select 'ready', r.queue, coalesce(r.jobs, 1) * 100 / (select h.ready_2 from share h)
  from fastq.ready_2 r tablesample system ((select h.ready_2 from share h))
  union all
  select 'ready', r.queue, coalesce(r.jobs, 1) * 100 / (select h.ready_3 from share h)
  from fastq.ready_3 r tablesample system ((select h.ready_3 from share h))
  union all
  select s.reason, s.queue, coalesce(s.jobs, 1) * 100 / (select h.scheduled from share h)
  from fastq.scheduled s tablesample system ((select h.scheduled from share h))
  union all
  select case f.state when 'failed' then 'failed' else 'kept' end, f.queue, 100 / (select h.finished from share h)
  from fastq.finished f tablesample system ((select h.finished from share h))
)
select e.state, e.queue, sum(e.weight)::int8 as jobs from seen e group by e.state, e.queue
