-- Let a schedule enqueue nothing until it is resumed.
-- Locks: one cron row for update. Index: cron_pkey. Caller: protocol.schedules.
update fastq.cron c set paused = true where c.name = %(name)s and not c.paused returning c.name
