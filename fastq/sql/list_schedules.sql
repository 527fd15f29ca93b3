-- All schedules, what of them can be read, since when no worker has declared them, and whether that has ended them.
-- Locks: none. Index: none, the table has a row per schedule. Caller: protocol.schedules.
select c.name, c.spec ->> 'expression' as expression, c.spec ->> 'tz' as tz, c.spec ->> 'task' as task,
       c.spec ->> 'queue' as queue, c.spec ->> 'catch_up' as catch_up, c.next_at, c.last_at, c.owner, c.seen_at, c.paused,
       c.owner <> '' and c.seen_at < now() - %(orphan_s)s * interval '1 second' as orphan,
       c.owner <> '' and c.seen_at <= now() - (select fastq.schedules_last()) as ended,
       (c.spec -> 'args')::text as args
from fastq.cron c
order by c.name
limit %(limit)s
