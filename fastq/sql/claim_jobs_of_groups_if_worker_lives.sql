-- As claim_jobs_if_worker_lives, for many groups of one queue and priority at once: up to `share` jobs of each, in the
-- order of `groups`, up to `limit` in all; of each group beyond its place in `lows`. Each packed job carries its group,
-- and the lease's own is empty. `picked` tells how many there were before the batch was ended by its size.
-- Fence, paused queues, acks: as there.
-- Locks: worker row key share; ready rows for update skip locked; lease and progress rows by delete.
-- Index: ready_{segment}_pkey, once per group. Caller: protocol.claim.
with alive as materialized (
  select w.expires_at > now() as in_time from fastq.worker w where w.shard = %(shard)s and w.id = %(worker)s for key share
),
acked as (
  delete from fastq.lease_{segment} l
  where l.shard = %(shard)s and l.worker = %(worker)s and l.id = any (%(acks)s::int8[])
    and l.id between (%(acks)s::int8[])[1] and (%(acks)s::int8[])[cardinality(%(acks)s::int8[])]
  returning l.id
),
forgotten as (
  delete from fastq.progress p using acked a where p.shard = %(shard)s and p.lease = a.id
),
pick as materialized (
  select j.place, j.bytes
  from unnest(%(groups)s::text[], %(lows)s::int8[]) as g(group_key, low)
  cross join lateral (
    select r.ctid as place, case when pg_column_compression(r.payload) is null then pg_column_size(r.payload)
                                 else octet_length(r.payload::text) end as bytes
    from fastq.ready_{segment} r
    where r.shard = %(shard)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key = g.group_key
      and r.pos > g.low and {wanted} and exists (select from alive a where a.in_time)
      and not exists (select from fastq.queue q where q.name = %(queue)s and q.paused)
    order by r.pos
    limit %(share)s
    for update skip locked
  ) j
  limit %(limit)s
),
line as materialized (
  select p.place, row_number() over () as n, sum(p.bytes) over (rows unbounded preceding) as total from pick p
),
gone as (
  delete from fastq.ready_{segment} r using line n
  where r.shard = %(shard)s and r.ctid = n.place and (n.total <= %(max_bytes)s or n.n = 1)
  returning n.n, r.pos, r.id, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta, r.group_key
),
pack as (
  select convert_to('[' || string_agg(
    '[' || g.pos || ',' || to_json(g.task) || ',' || g.attempt || ',' || g.enqueued_ms || ',' || g.payload::text || ',' ||
    coalesce(g.id::text, 'null') || ',' || coalesce(g.meta::text, 'null') || ',' || to_json(g.group_key) || ']',
    ',' order by g.n) || ']', 'UTF8') as batch
  from gone g
),
leased as (
  insert into fastq.lease_{segment} (shard, id, worker, queue, priority, group_key, batch)
  select %(shard)s, %(lease)s, %(worker)s, %(queue)s, %(priority)s, '', k.batch from pack k where k.batch is not null
  returning id, batch
)
select n.id, n.batch, (select count(*) from pick p) as picked, array(select a.id from acked a) as acked,
       exists (select from alive) as alive
from (values (1)) one left join leased n on true
