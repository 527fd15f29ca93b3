-- What stands of one schedule, and the database's time.
-- Locks: none. Index: cron_pkey. Caller: protocol.schedules.
select c.spec::text as spec, c.paused, c.owner, now() as now from fastq.cron c where c.name = %(name)s
