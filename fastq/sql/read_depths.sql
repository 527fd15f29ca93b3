-- How many jobs were ready and how many ran in all queues together, from so many seconds ago on.
-- Locks: none. Index: history_pkey. Caller: insights.history.
select h.at, sum(h.ready)::int8 as ready, sum(h.running)::int8 as running, max(h.oldest_s) as oldest_s
from fastq.history h
where h.span_s = %(span_s)s and h.at >= now() - %(seconds)s * interval '1 second' and h.queue <> ''
group by h.at
order by h.at
limit 5000
