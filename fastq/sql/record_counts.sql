-- Add what this host's workers have counted since the last time of each queue and task to the present minute and hour: to the
-- rows of the task, of its queue, and of the fleet. `counts` is a json array of objects.
-- Locks: these rows by upsert. Index: history_pkey, task_history_pkey. Caller: protocol.history.
with given as materialized (
  select g.* from jsonb_to_recordset(%(counts)s::jsonb) as g(
    queue text, task text, claimed int8, succeeded int8, failed int8, retried int8, returned int8, lost int8, ran_us int8,
    waited_ms int8, ran int8[], waited int8[])
),
span as materialized (
  select s.span_s, s.at from (values (60, date_trunc('minute', now())), (3600, date_trunc('hour', now()))) as s(span_s, at)
),
owned as materialized (
  select g.*, q.whole from given g cross join lateral (values (''), (nullif(g.queue, ''))) as q(whole) where q.whole is not null
),
bucket as materialized (
  select b.whole, array_agg(b.ran order by b.n) as ran, array_agg(b.waited order by b.n) as waited
  from (
    select o.whole, u.n, sum(coalesce(u.ran, 0))::int8 as ran, sum(coalesce(u.waited, 0))::int8 as waited
    from owned o cross join lateral unnest(o.ran, o.waited) with ordinality as u(ran, waited, n)
    group by 1, 2
  ) b
  group by 1
),
wholes as (
  insert into fastq.history as h
    (span_s, at, queue, claimed, succeeded, failed, retried, returned, lost, ran_us, waited_ms, ran, waited)
  select s.span_s, s.at, o.whole, sum(o.claimed), sum(o.succeeded), sum(o.failed), sum(o.retried), sum(o.returned), sum(o.lost),
         sum(o.ran_us), sum(o.waited_ms), coalesce(b.ran, '{}'), coalesce(b.waited, '{}')
  from owned o left join bucket b on b.whole = o.whole cross join span s
  group by s.span_s, s.at, o.whole, b.ran, b.waited
  order by s.span_s, o.whole collate "C"
  on conflict (span_s, at, queue) do update set
    claimed = h.claimed + excluded.claimed, succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed,
    retried = h.retried + excluded.retried, returned = h.returned + excluded.returned, lost = h.lost + excluded.lost,
    ran_us = h.ran_us + excluded.ran_us, waited_ms = h.waited_ms + excluded.waited_ms,
    ran = fastq.add_up(h.ran, excluded.ran), waited = fastq.add_up(h.waited, excluded.waited)
)
insert into fastq.task_history as h
  (at, span_s, queue, task, claimed, succeeded, failed, retried, returned, lost, ran_us, waited_ms, ran, waited)
select s.at, s.span_s, g.queue, g.task, g.claimed, g.succeeded, g.failed, g.retried, g.returned, g.lost, g.ran_us, g.waited_ms,
       g.ran, g.waited
from given g cross join span s
order by s.span_s, g.queue collate "C", g.task collate "C"
on conflict (span_s, at, queue, task) do update set
  claimed = h.claimed + excluded.claimed, succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed,
  retried = h.retried + excluded.retried, returned = h.returned + excluded.returned, lost = h.lost + excluded.lost,
  ran_us = h.ran_us + excluded.ran_us, waited_ms = h.waited_ms + excluded.waited_ms,
  ran = fastq.add_up(h.ran, excluded.ran), waited = fastq.add_up(h.waited, excluded.waited)
