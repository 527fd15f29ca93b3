-- Move claimed jobs out of their leases: back to ready, to scheduled (retry, snooze), or to finished.
-- The parameters from `lease` to `result` are parallel arrays, one place per job; the job itself is read from the lease,
-- so what was claimed and what is written cannot differ. `task` and `payload` replace a job's own in its next step.
-- Fence: jobs of a lease that is gone, or that are done already, are left out; returned are those that moved. A job that
-- completed in its own transaction is marked as done and goes nowhere but to finished, as succeeded.
-- Durable whatever the connection's setting: were it lost in a crash of the server, the lease would come back without
-- the mark, and the worker, which lives on, would acknowledge it as a whole.
-- Locks: lease rows for no key update, in order of id (a handler's open transaction holds them key share).
-- Index: lease_pkey, progress_pkey. Caller: protocol.settle.
with item as materialized (
  select distinct on (i.lease, i.ord) i.lease, i.ord, i.goes, i.state, i.delay_s, i.attempt, i.meta::json as meta, i.keep_s,
         i.task, i.payload::json as payload, i.result::json as result
  from unnest(%(lease)s::int8[], %(ord)s::int2[], %(goes)s::text[], %(state)s::text[], %(delay_s)s::float8[],
              %(attempt)s::int2[], %(meta)s::text[], %(keep_s)s::float8[], %(task)s::text[], %(payload)s::text[],
              %(result)s::text[])
       as i(lease, ord, goes, state, delay_s, attempt, meta, keep_s, task, payload, result)
),
held as materialized (
  select l.id, l.queue, l.priority, l.group_key, l.batch, l.done
  from fastq.lease l
  where l.slot = %(slot)s and l.worker = %(worker)s and l.id = any (%(lease)s)
  order by l.id
  for no key update
),
job as materialized (
  select i.lease, i.ord, i.goes, i.state, i.delay_s, i.attempt, i.meta, i.keep_s, i.result,
         h.queue, h.priority, h.group_key, u.id, coalesce(i.task, u.task) as task, u.enqueued_ms,
         coalesce(i.payload, u.payload) as payload,
         exists (select from fastq.progress p where p.slot = %(slot)s and p.lease = i.lease and p.ord = i.ord and p.completed)
           as completed
  from held h
  cross join lateral fastq.unpack(h.batch, h.done) u
  join item i on i.lease = h.id and i.ord = u.ord
),
marked as (
  update fastq.lease l set done = l.done || m.ords
  from (select j.lease, array_agg(j.ord) as ords from job j group by j.lease) m
  where l.slot = %(slot)s and l.id = m.lease
),
to_ready as (
  insert into fastq.ready (segment, slot, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
  select coalesce((select r.head from fastq.ring r where r.slot = %(slot)s), 0), %(slot)s, j.priority, j.attempt, j.id,
         j.enqueued_ms, j.queue, j.group_key, j.task, j.payload, j.meta
  from job j
  where j.goes = 'ready' and not j.completed
  order by j.lease, j.ord
),
to_scheduled as (
  insert into fastq.scheduled (slot, id, run_at, reason, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
  select %(slot)s, j.id, now() + j.delay_s * interval '1 second', j.state, j.priority, j.attempt, j.enqueued_ms, j.queue,
         j.group_key, j.task, j.payload, j.meta
  from job j
  where j.goes = 'scheduled' and not j.completed
),
to_finished as (
  insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, expires_at, queue, group_key, task, payload, result,
                              meta)
  select %(slot)s, j.id, j.state, j.priority, j.attempt, j.enqueued_ms, now() + j.keep_s * interval '1 second', j.queue,
         j.group_key, j.task, j.payload, j.result, j.meta
  from job j
  where j.goes = 'finished' and (not j.completed or j.state = 'succeeded')
)
select j.lease, j.ord, set_config('synchronous_commit', 'on', true) as durable from job j
