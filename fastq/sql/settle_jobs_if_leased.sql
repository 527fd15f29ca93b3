-- Move claimed jobs out of their leases: back to ready, to scheduled (retry, snooze), to finished, or away (done).
-- The parameters from `lease` to `ran_ms` are parallel arrays, one place per job; the job itself is read from the lease,
-- so what was claimed and what is written cannot differ. `task` and `payload` replace a job's own in its next step.
-- Fence: jobs of a lease that is gone, or that are done already, are left out; returned are those that moved. A job that
-- completed in its own transaction is marked as done and goes nowhere but to finished, as succeeded.
-- Durable whatever the connection's setting: were it lost in a crash of the server, the lease would come back without
-- the mark, and the worker, which lives on, would acknowledge it as a whole.
-- `recalls`: its meta gets the checkpoint that is there, which its handler wrote in a transaction of its own.
-- `anew`: it is kept under a new id, since another job has its own.
-- A job that `frees` gives its unique key back, unless it is held for a time; a key that somebody else is at is left to them.
-- `advances`: the job is ordered, and whether its line goes on then; it does in any case when the job completed.
-- Function: settle_jobs(shard int4, worker int8, lease int8[], ord int2[], goes text[], state text[], delay_s float8[],
-- attempt int2[], meta text[], keep_s float8[], task text[], payload text[], result text[], frees bool[], advances bool[],
-- anew bool[], recalls bool[], ran_ms int8[]) returns (lease int8, ord int2, durable text, advanced bool).
-- Locks: lease rows for no key update, in order of id (a handler's open transaction holds them key share); then head rows;
-- unique_key rows for update skip locked. Index: lease_pkey, progress_pkey, unique_key_job. Caller: protocol.settle.
with item as materialized (
  select distinct on (i.lease, i.ord) i.lease, i.ord, i.goes, i.state, i.delay_s, i.attempt, i.meta::json as meta, i.keep_s,
         i.task, i.payload::json as payload, i.result::json as result, i.frees, i.advances, i.anew, i.recalls, i.ran_ms
  from unnest(%(lease)s::int8[], %(ord)s::int2[], %(goes)s::text[], %(state)s::text[], %(delay_s)s::float8[],
              %(attempt)s::int2[], %(meta)s::text[], %(keep_s)s::float8[], %(task)s::text[], %(payload)s::text[],
              %(result)s::text[], %(frees)s::bool[], %(advances)s::bool[], %(anew)s::bool[], %(recalls)s::bool[],
              %(ran_ms)s::int8[])
       as i(lease, ord, goes, state, delay_s, attempt, meta, keep_s, task, payload, result, frees, advances, anew, recalls,
            ran_ms)
),
held as materialized (
  select l.id, l.queue, l.priority, l as lease
  from fastq.lease l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(lease)s)
    and l.id between (select min(a.id) from unnest(%(lease)s::int8[]) a(id))
                 and (select max(a.id) from unnest(%(lease)s::int8[]) a(id))
  order by l.id
  for no key update
),
taken as materialized (
  select h.id as lease, h.queue, h.priority, u.ord, u.id, u.task, u.enqueued_ms, u.payload, u.group_key
  from held h cross join lateral fastq.jobs_of(h.lease) u
),
job as materialized (
  select i.lease, i.ord, i.goes, i.state, i.delay_s, i.attempt, i.keep_s, i.result, i.frees, i.advances, i.anew, i.ran_ms,
         coalesce(case when i.recalls then (
           select fastq.meta_with(i.meta, 'checkpoint', p.checkpoint) from fastq.progress p
           where p.shard = %(shard)s and p.lease = i.lease and p.ord = i.ord and p.checkpoint is not null) end, i.meta) as meta,
         u.queue, u.priority, u.group_key, u.id, coalesce(i.task, u.task) as task,
         least(greatest(u.enqueued_ms, 0), 253402214399999) as enqueued_ms,
         coalesce(i.payload, u.payload) as payload,
         exists (select from fastq.progress p where p.shard = %(shard)s and p.lease = i.lease and p.ord = i.ord and p.completed
                 offset 0) as completed
  from taken u join item i on i.lease = u.lease and i.ord = u.ord
),
marked as (
  update fastq.lease l set done = l.done || m.ords
  from (select j.lease, array_agg(j.ord) as ords from job j group by j.lease) m
  where l.shard = %(shard)s and l.id = m.lease and l.id = any (%(lease)s)
    and l.id between (select min(a.id) from unnest(%(lease)s::int8[]) a(id))
                 and (select max(a.id) from unnest(%(lease)s::int8[]) a(id))
),
free as materialized (
  select k.key, k.job
  from job j join fastq.unique_key k on k.shard = %(shard)s and k.job = j.id
  where j.frees and k.held_until <> 'time'
  order by k.key
  for update of k skip locked
),
freed as (
  delete from fastq.unique_key k using free f where k.shard = %(shard)s and k.key = f.key and k.job = f.job
),
to_ready as (
  insert into fastq.ready (segment, shard, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
  select coalesce((select r.head from fastq.ring r where r.shard = %(shard)s), 0), %(shard)s, j.priority, j.attempt, j.id,
         j.enqueued_ms, j.queue, j.group_key, j.task, j.payload, j.meta
  from job j
  where j.goes = 'ready' and not j.completed
  order by j.lease, j.ord
),
to_scheduled as (
  insert into fastq.scheduled (shard, id, run_at, reason, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
  select %(shard)s, j.id, statement_timestamp() + j.delay_s * interval '1 second', j.state, j.priority, j.attempt, j.enqueued_ms, j.queue,
         j.group_key, j.task, j.payload, j.meta
  from job j
  where j.goes = 'scheduled' and not j.completed
),
to_finished as (
  insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, expires_at, queue, group_key, task, payload, result,
                              meta, ran_ms)
  select %(shard)s, case when j.anew then nextval('fastq.pos') else j.id end, j.state, j.priority, j.attempt, j.enqueued_ms,
         now() + j.keep_s * interval '1 second', j.queue,
         j.group_key, j.task, case when j.payload::text <> 'null' then j.payload end, j.result, j.meta, j.ran_ms
  from job j
  where j.goes = 'finished' and (not j.completed or j.state = 'succeeded')
)
select j.lease, j.ord, set_config('synchronous_commit', 'on', true) as durable,
       case when j.advances or (j.completed and j.advances is not null) then fastq.advance(%(shard)s::int4, j.id) end as advanced
from job j
