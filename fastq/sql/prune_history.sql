-- Forget the minutes that are older than a day, and the hours that are older than `keep_days`; returns how many rows went.
-- Locks: the old rows by delete. Index: history_pkey, task_history_pkey. Caller: protocol.history.
with old as materialized (
  select s.span_s, now() - s.keep as since from (values (60, interval '1 day'), (3600, %(keep_days)s * interval '1 day')) as s(span_s, keep)
),
fleet as (
  delete from fastq.history h using old o where h.span_s = o.span_s and h.at < o.since returning 1
),
tasks as (
  delete from fastq.task_history h using old o where h.span_s = o.span_s and h.at < o.since returning 1
)
select (select count(*) from fleet) + (select count(*) from tasks) as rows
