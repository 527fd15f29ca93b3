-- Enqueue a schedule's due occurrences and go on to the next one, unless another leader, a pause or a new spec
-- came first.
-- One statement, so that an occurrence is enqueued once whenever who dies, and nobody holds a row while frozen.
-- Locks: one cron row for update skip locked. Index: cron_pkey, ready_*_pkey by insert. Caller: protocol.cron.
with due as materialized (
  select c.name from fastq.cron c
  where c.name = %(name)s and c.next_at = %(due_at)s and c.next_at <= now() and c.spec::text = %(spec)s and not c.paused
  for update skip locked
),
advanced as (
  update fastq.cron c set next_at = %(next_at)s, last_at = coalesce(%(last_at)s::timestamptz, c.last_at)
  from due d where c.name = d.name
  returning c.name
),
put as (
  insert into fastq.ready (segment, shard, queue, priority, task, payload, meta)
  select coalesce((select r.head from fastq.ring r where r.shard = %(shard)s), 0), %(shard)s, %(queue)s, %(priority)s, %(task)s, %(arguments)s::json,
         json_build_object('headers', json_build_object('scheduled_for', o.at))
  from advanced a cross join unnest(%(occurrences)s::text[]) with ordinality as o(at, n)
  order by o.n
)
select a.name from advanced a
