-- Note how many jobs stand in each queue in the present minute and hour. The arrays are parallel.
-- Locks: these rows by upsert. Index: history_pkey. Caller: protocol.history.
insert into fastq.history as h (span_s, at, queue, ready, running, oldest_s)
select s.span_s, s.at, d.queue, d.ready, d.running, d.oldest_s
from unnest(%(queues)s::text[], %(ready)s::int8[], %(running)s::int8[], %(oldest_s)s::float8[]) as d(queue, ready, running, oldest_s)
cross join (values (60, date_trunc('minute', now())), (3600, date_trunc('hour', now()))) as s(span_s, at)
order by s.span_s, d.queue
on conflict (span_s, at, queue) do update set
  ready = case when h.span_s = 60 then excluded.ready else greatest(h.ready, excluded.ready) end,
  running = greatest(h.running, excluded.running), oldest_s = greatest(h.oldest_s, excluded.oldest_s)
