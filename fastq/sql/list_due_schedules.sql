-- Schedules whose time has come, the database's time, and in how many seconds the next one is due. Always one row at
-- least; its name is null when nothing is due. A paused one is never due, nor one that no worker has declared for too long,
-- unless it was made by hand and so has no owner.
-- Locks: none. Index: none, the table has a row per schedule. Caller: protocol.cron.
with alive as materialized (
  select c.name, c.next_at, c.spec::text as spec
  from fastq.cron c
  where not c.paused and (c.owner = '' or c.seen_at > now() - (select fastq.schedules_last()))
)
select a.name, a.next_at, a.spec, now() as now,
       (select extract(epoch from min(least(n.next_at, now() + interval '1 day')) - now())::float8 from alive n where n.next_at > now()) as next_due_s
from (select) as once left join alive a on a.next_at <= now()
order by a.next_at
