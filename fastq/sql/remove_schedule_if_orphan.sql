-- Delete a schedule that no worker has declared for `orphan_s` seconds: one that is declared would come back.
-- Locks: one cron row for update. Index: cron_pkey. Caller: protocol.schedules.
delete from fastq.cron c
where c.name = %(name)s and (c.owner = '' or c.seen_at < now() - %(orphan_s)s * interval '1 second')
returning c.name
