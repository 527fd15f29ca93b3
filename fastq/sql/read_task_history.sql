-- The history of one task, in one queue or in all, from so many seconds ago on: where `by` is at in steps of `step_s` seconds,
-- where it is task the sums of each queue and task. A parameter that is null is any.
-- Locks: none. Index: task_history_pkey. Caller: insights.history.
with found as materialized (
  select case when %(by)s::text = 'at' then date_bin(%(step_s)s * interval '1 second', h.at, 'epoch') end as at,
         case when %(by)s::text = 'task' then h.queue end as queue, case when %(by)s::text = 'task' then h.task end as task,
         h.claimed, h.succeeded, h.failed, h.retried, h.returned, h.lost, h.ran_us, h.waited_ms, h.ran, h.waited
  from fastq.task_history h
  where h.span_s = %(span_s)s and h.at >= now() - %(seconds)s * interval '1 second'
    and (%(queue)s::text is null or h.queue = %(queue)s::text) and (%(task)s::text is null or h.task = %(task)s::text)
),
buckets as materialized (
  select b.at, b.queue, b.task, array_agg(b.ran order by b.n) as ran, array_agg(b.waited order by b.n) as waited
  from (
    select f.at, f.queue, f.task, u.n, sum(coalesce(u.ran, 0))::int8 as ran, sum(coalesce(u.waited, 0))::int8 as waited
    from found f cross join lateral unnest(f.ran, f.waited) with ordinality as u(ran, waited, n)
    group by 1, 2, 3, 4
  ) b
  group by 1, 2, 3
)
select f.at, f.queue, f.task, sum(f.claimed)::int8 as claimed, sum(f.succeeded)::int8 as succeeded, sum(f.failed)::int8 as failed,
       sum(f.retried)::int8 as retried, sum(f.returned)::int8 as returned, sum(f.lost)::int8 as lost, sum(f.ran_us)::int8 as ran_us,
       sum(f.waited_ms)::int8 as waited_ms, coalesce(b.ran, '{}') as ran, coalesce(b.waited, '{}') as waited
from found f left join buckets b on (b.at, b.queue, b.task) is not distinct from (f.at, f.queue, f.task)
group by f.at, f.queue, f.task, b.ran, b.waited
order by f.at, f.queue, f.task
limit 5000
