-- Claim up to `limit` jobs of one lane of one segment, from at most `rows` rows of ready: jobs of their own into one lease
-- row, as one json array; of each row that stands for a packet the jobs into a lease row of its own. The payloads of packets
-- stay where they are. Up to `most` jobs a packet is taken whole; of one that would pass that, so many as `limit` leaves: the
-- others become a row of ready again. Leases are numbered from `lease` on.
-- Also deletes the leases in `acks`, whose jobs are all finished, as ack_leases does: one round trip for both. They must
-- be of this segment, and in order.
-- A claim ends before it passes `max_bytes` (its first row always comes along).
-- A paused queue gives nothing.
-- Fence: nothing is claimed when the worker's row is gone or its time has run out; the key-share lock makes a reaper wait for this statement.
-- Function: claim_jobs(shard int4, worker int8, lease int8, queue text, priority int2, group_key text, low int8, limit int8,
-- most int8, rows int8, acks int8[], hot text[], known text[], max_bytes int8, packet_bytes int4) returns (id int8, batch
-- bytea, packet int8, first int8, jobs int2, task text, enqueued_ms int8, meta text, group_key text, fresh bool, hi int8,
-- acked int8[], alive bool, rows int8, more bool).
-- Locks: worker row key share; ready rows for update skip locked; lease, packet and progress rows by delete.
-- Index: ready_{segment}_pkey from `low` on, packet_*_pkey. Caller: protocol.claim.
with alive as materialized (
  select w.expires_at > now() as in_time from fastq.worker w where w.shard = %(shard)s and w.id = %(worker)s for key share
),
{acked},
pick as materialized (
  select r.ctid as place, r.pos, coalesce(r.jobs, 1) as jobs,
         {bytes} as bytes
  from fastq.ready_{segment} r
  where r.shard = %(shard)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key = %(group_key)s
    and r.pos > %(low)s and {wanted} and exists (select from alive a where a.in_time)
    and not exists (select from fastq.queue q where q.name = %(queue)s and q.paused)
  order by r.pos
  limit %(rows)s
  for update skip locked
),
cut as materialized (
  select t.rows, t.last, case when t.fits then t.last else x.hi end as hi, x.part
  from (select count(*) as rows, max(p.pos) as last, sum(p.jobs) <= %(limit)s and sum(p.bytes) <= %(max_bytes)s as fits
        from pick p) t
  left join lateral (
    select l.pos as hi, case when l.before + l.jobs > %(most)s then %(limit)s - l.before end as part
    from (select p.pos, p.jobs, sum(p.jobs) over w - p.jobs as before, sum(p.bytes) over w as total, row_number() over w as n
          from pick p where not t.fits window w as (order by p.pos)) l
    where l.before < %(limit)s and (l.total <= %(max_bytes)s or l.n = 1)
    order by l.pos desc limit 1
  ) x on true
),
gone as (
  delete from fastq.ready_{segment} r
  where r.shard = %(shard)s and r.ctid = any (array(select p.place from pick p where p.pos <= (select c.hi from cut c)))
  returning r.pos, r.id, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta, r.group_key, r.jobs, r.packet
),
packed as materialized (
  select g.pos, g.id, g.task, g.enqueued_ms, g.meta, g.group_key, g.jobs, g.packet, row_number() over (order by g.pos) as n,
         case when g.pos = c.hi and c.part < g.jobs then c.part else g.jobs end as take
  from gone g cross join cut c
  where g.jobs is not null
),
{opened},
pack as (
  select convert_to('[' || string_agg(
    '[' || g.pos || ',' || to_json(g.task) || ',' || g.attempt || ',' || g.enqueued_ms || ',' || g.payload::text ||
    case when g.id is null and g.meta is null then ']'
         else ',' || coalesce(g.id::text, 'null') || ',' || coalesce(g.meta::text, 'null') || ']' end,
    ',' order by g.pos) || ']', 'UTF8') as batch
  from gone g
  where g.jobs is null
),
leased as (
  insert into fastq.lease_{segment} (shard, id, worker, queue, priority, group_key, batch)
  select %(shard)s, %(lease)s, %(worker)s, %(queue)s, %(priority)s, %(group_key)s, k.batch from pack k where k.batch is not null
  returning id, batch
)
select n.id, n.batch, n.packet, n.first, n.jobs, n.task, n.enqueued_ms, n.meta, null as group_key, n.fresh,
       coalesce((select p.pos + p.take - 1 from packed p where p.pos = c.hi), c.hi) as hi,
       array(select a.id from acked a) as acked, exists (select from alive) as alive, c.rows as rows,
       c.hi < c.last or c.part is not null as more
from cut c left join (
  {claimed}
) n on true
order by n.id
