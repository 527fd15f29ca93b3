-- Go on to a schedule's next occurrence, unless another leader, a pause or a new spec came first. The jobs are put by the
-- next statement of the same transaction: see enqueue_occurrences_if_due, which does both.
-- Locks: one cron row by update. Index: cron_pkey. Caller: protocol.cron.
update fastq.cron c set next_at = %(next_at)s, last_at = coalesce(%(last_at)s::timestamptz, c.last_at)
where c.name = %(name)s and c.next_at = %(due_at)s and c.next_at <= now() and c.spec::text = %(spec)s and not c.paused
returning c.name
