-- Make a schedule at run time, or change one.
-- Locks: one cron row by upsert. Index: cron_pkey. Caller: protocol.schedules.
select fastq.put_schedule(%(name)s, %(next_at)s, %(spec)s::json)
