-- Let a paused schedule go on with its first occurrence from now, unless its spec was changed meanwhile.
-- Locks: one cron row for update. Index: cron_pkey. Caller: protocol.schedules.
update fastq.cron c set paused = false, next_at = %(next_at)s
where c.name = %(name)s and c.paused and c.spec::text = %(spec)s
returning c.name
