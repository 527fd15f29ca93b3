-- Enqueue a job of a schedule now, beside its occurrences; no row when there is none of that name.
-- Locks: none. Index: cron_pkey, ready_*_pkey by insert. Caller: protocol.schedules.
select fastq.enqueue(c.spec ->> 'task', coalesce(c.spec -> 'args', '{}'), coalesce(c.spec ->> 'queue', 'default'), coalesce((c.spec ->> 'priority')::int, 4),
                     headers => json_build_object('scheduled_for', now())) as job
from fastq.cron c
where c.name = %(name)s
