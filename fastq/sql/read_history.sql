-- The history of one queue, or of the whole fleet (''), from so many seconds ago on.
-- Locks: none. Index: history_pkey. Caller: insights.history.
select h.at, h.span_s, h.claimed, h.succeeded, h.failed, h.retried, h.returned, h.lost, h.ready, h.running, h.oldest_s
from fastq.history h
where h.span_s = %(span_s)s and h.at >= now() - %(seconds)s * interval '1 second' and h.queue = %(queue)s
order by h.at
limit 5000
