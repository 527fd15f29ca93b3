-- Claim up to `limit` jobs of one lane of one segment: out of ready, into one lease row, packed as one json array.
-- Also deletes the leases in `acks`, whose jobs are all finished, as ack_leases does: one round trip for both. They must
-- be of this segment, and in order.
-- A batch ends before it passes `max_bytes` (its first job always comes along).
-- A paused queue gives nothing.
-- Fence: nothing is claimed when the worker's row is gone or its time has run out; the key-share lock makes a reaper wait for this statement.
-- Locks: worker row key share; ready rows for update skip locked; lease and progress rows by delete.
-- Index: ready_{segment}_pkey from `low` on. Caller: protocol.claim.
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
  select r.ctid as place, r.pos, case when pg_column_compression(r.payload) is null then pg_column_size(r.payload)
                             else octet_length(r.payload::text) end as bytes
  from fastq.ready_{segment} r
  where r.shard = %(shard)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key = %(group_key)s
    and r.pos > %(low)s and {wanted} and exists (select from alive a where a.in_time)
    and not exists (select from fastq.queue q where q.name = %(queue)s and q.paused)
  order by r.pos
  limit %(limit)s
  for update skip locked
),
cut as materialized (
  select case
    when sum(p.bytes) <= %(max_bytes)s then max(p.pos)
    else (select coalesce(max(s.pos) filter (where s.total <= %(max_bytes)s), min(s.pos))
          from (select q.pos, sum(q.bytes) over (order by q.pos) as total from pick q) s)
  end as hi, max(p.pos) as last
  from pick p
),
gone as (
  delete from fastq.ready_{segment} r
  where r.shard = %(shard)s and r.ctid = any (array(select p.place from pick p where p.pos <= (select c.hi from cut c)))
  returning r.pos, r.id, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta
),
pack as (
  select convert_to('[' || string_agg(
    '[' || g.pos || ',' || to_json(g.task) || ',' || g.attempt || ',' || g.enqueued_ms || ',' || g.payload::text ||
    case when g.id is null and g.meta is null then ']'
         else ',' || coalesce(g.id::text, 'null') || ',' || coalesce(g.meta::text, 'null') || ']' end,
    ',' order by g.pos) || ']', 'UTF8') as batch
  from gone g
),
leased as (
  insert into fastq.lease_{segment} (shard, id, worker, queue, priority, group_key, batch)
  select %(shard)s, %(lease)s, %(worker)s, %(queue)s, %(priority)s, %(group_key)s, k.batch from pack k where k.batch is not null
  returning id, batch
)
select n.id, n.batch, (select c.hi from cut c) as hi, array(select a.id from acked a) as acked,
       exists (select from alive) as alive, (select c.hi < c.last from cut c) as cut
from (values (1)) one left join leased n on true
