-- Note how many jobs stand in each queue in the present minute. The arrays are parallel.
-- Locks: the minute's rows by upsert. Index: history_pkey. Caller: protocol.history.
insert into fastq.history as h (at, queue, ready, running, oldest_s)
select date_trunc('minute', now()), d.queue, d.ready, d.running, d.oldest_s
from unnest(%(queues)s::text[], %(ready)s::int8[], %(running)s::int8[], %(oldest_s)s::float8[]) as d(queue, ready, running, oldest_s)
order by d.queue
on conflict (span_s, at, queue) do update set
  ready = excluded.ready, running = greatest(h.running, excluded.running), oldest_s = greatest(h.oldest_s, excluded.oldest_s)
