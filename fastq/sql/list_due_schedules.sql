-- Schedules whose time has come, the database's time, and in how many seconds the next one is due. Always one row at
-- least; its name is null when nothing is due.
-- Locks: none. Index: none, the table has a row per schedule. Caller: protocol.cron.
select c.name, c.next_at, c.spec::text as spec, now() as now,
       (select extract(epoch from min(n.next_at) - now())::float8 from fastq.cron n where n.next_at > now()) as next_due_s
from (select) as once left join fastq.cron c on c.next_at <= now()
order by c.next_at
