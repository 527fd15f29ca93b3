-- The history of one queue, or of the whole fleet (''), from so many seconds ago on, in steps of `step_s` seconds: sums of what was
-- counted, the most of what stood there.
-- Locks: none. Index: history_pkey. Caller: insights.history.
with found as materialized (
  select date_bin(%(step_s)s * interval '1 second', h.at, 'epoch') as at, h.claimed, h.succeeded, h.failed, h.retried, h.returned,
         h.lost, h.ran_us, h.waited_ms, h.ran, h.waited, h.ready, h.running, h.oldest_s
  from fastq.history h
  where h.span_s = %(span_s)s and h.at >= now() - %(seconds)s * interval '1 second' and h.queue = %(queue)s
),
buckets as materialized (
  select b.at, array_agg(b.ran order by b.n) as ran, array_agg(b.waited order by b.n) as waited
  from (
    select f.at, u.n, sum(coalesce(u.ran, 0))::int8 as ran, sum(coalesce(u.waited, 0))::int8 as waited
    from found f cross join lateral unnest(f.ran, f.waited) with ordinality as u(ran, waited, n)
    group by 1, 2
  ) b
  group by 1
)
select f.at, sum(f.claimed)::int8 as claimed, sum(f.succeeded)::int8 as succeeded, sum(f.failed)::int8 as failed,
       sum(f.retried)::int8 as retried, sum(f.returned)::int8 as returned, sum(f.lost)::int8 as lost, sum(f.ran_us)::int8 as ran_us,
       sum(f.waited_ms)::int8 as waited_ms, coalesce(b.ran, '{}') as ran, coalesce(b.waited, '{}') as waited,
       max(f.ready) as ready, max(f.running) as running, max(f.oldest_s) as oldest_s
from found f left join buckets b on b.at = f.at
group by f.at, b.ran, b.waited
order by f.at
