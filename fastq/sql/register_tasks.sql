-- Note that workers have these tasks, unless it stands there already and was said less than `every_s` ago.
-- Locks: the rows that change by upsert, in order of their names. Index: task_pkey. Caller: protocol.tasks.
insert into fastq.task as t (name, owner, redact)
select g.name, %(owner)s, g.redact
from jsonb_to_recordset(%(tasks)s::jsonb) as g(name text, redact text[])
where not exists (
  select from fastq.task k
  where k.name = g.name and k.redact = g.redact and k.seen_at > now() - %(every_s)s * interval '1 second')
order by g.name collate "C"
on conflict (name) do update set owner = excluded.owner, redact = excluded.redact, seen_at = now()
