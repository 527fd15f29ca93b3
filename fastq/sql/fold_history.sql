-- Make hours of the minutes that are older than a day, and forget what is older than `keep_days`; returns how many rows went.
-- Locks: the old rows by delete, the hours' by upsert. Index: history_pkey. Caller: protocol.history.
with old as (
  delete from fastq.history h
  where h.span_s = 60 and h.at < date_trunc('hour', now() - interval '1 day')
  returning h.at, h.queue, h.claimed, h.succeeded, h.failed, h.retried, h.returned, h.lost, h.ready, h.running, h.oldest_s
),
hours as (
  insert into fastq.history as h (at, span_s, queue, claimed, succeeded, failed, retried, returned, lost, ready, running, oldest_s)
  select date_trunc('hour', o.at), 3600, o.queue, sum(o.claimed), sum(o.succeeded), sum(o.failed), sum(o.retried), sum(o.returned),
         sum(o.lost), max(o.ready), max(o.running), max(o.oldest_s)
  from old o
  group by 1, o.queue
  on conflict (span_s, at, queue) do update set
    claimed = h.claimed + excluded.claimed, succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed,
    retried = h.retried + excluded.retried, returned = h.returned + excluded.returned, lost = h.lost + excluded.lost,
    ready = greatest(h.ready, excluded.ready), running = greatest(h.running, excluded.running),
    oldest_s = greatest(h.oldest_s, excluded.oldest_s)
),
past as (
  delete from fastq.history h where h.span_s = 3600 and h.at < now() - %(keep_days)s * interval '1 day' returning 1
)
select (select count(*) from old o) + (select count(*) from past p) as rows
