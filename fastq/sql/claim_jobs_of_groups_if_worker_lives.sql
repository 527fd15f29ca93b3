-- As claim_jobs_if_worker_lives, for many groups of one queue and priority at once: of each group up to `share` rows beyond its
-- place in `lows`, in the order of `groups`, up to `rows` rows in all. Each packed job carries its group, and their lease's
-- own is empty.
-- Fence, paused queues, packets, acks: as there.
-- Function: claim_jobs_of_groups(shard int4, worker int8, lease int8, queue text, priority int2, groups text[], lows int8[],
-- share int8, limit int8, most int8, rows int8, acks int8[], hot text[], known text[], max_bytes int8, packet_bytes int4)
-- returns (id int8, batch bytea, packet int8, first int8, jobs int2, task text, enqueued_ms int8, meta text, group_key text,
-- fresh bool, hi int8, acked int8[], alive bool, rows int8, more bool).
-- Locks: worker row key share; ready rows for update skip locked; lease, packet and progress rows by delete.
-- Index: ready_{segment}_pkey, once per group, packet_*_pkey. Caller: protocol.claim.
with alive as materialized (
  select w.expires_at > now() as in_time from fastq.worker w where w.shard = %(shard)s and w.id = %(worker)s for key share
),
{acked},
pick as materialized (
  select j.place, j.bytes, j.jobs
  from unnest(%(groups)s::text[], %(lows)s::int8[]) as g(group_key, low)
  cross join lateral (
    select r.ctid as place, coalesce(r.jobs, 1) as jobs,
           {bytes} as bytes
    from fastq.ready_{segment} r
    where r.shard = %(shard)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key = g.group_key
      and r.pos > g.low and {wanted} and exists (select from alive a where a.in_time)
      and not exists (select from fastq.queue q where q.name = %(queue)s and q.paused)
    order by r.pos
    limit %(share)s
    for update skip locked
  ) j
  limit %(rows)s
),
line as materialized (
  select l.place, l.n,
         case when l.before + l.jobs > %(most)s then (%(limit)s - l.before)::int2 end as part
  from (select p.place, p.jobs, row_number() over () as n, sum(p.bytes) over w as total, sum(p.jobs) over w - p.jobs as before
        from pick p window w as (rows unbounded preceding)) l
  where l.before < %(limit)s and (l.total <= %(max_bytes)s or l.n = 1)
),
gone as (
  delete from fastq.ready_{segment} r using line l
  where r.shard = %(shard)s and r.ctid = l.place
  returning l.n, l.part, r.pos, r.id, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta, r.group_key, r.jobs, r.packet
),
packed as materialized (
  select g.n, g.pos, g.id, g.task, g.enqueued_ms, g.meta, g.group_key, g.jobs, g.packet,
         case when g.part < g.jobs then g.part else g.jobs end as take
  from gone g
  where g.jobs is not null
),
{opened},
pack as (
  select convert_to('[' || string_agg(
    '[' || g.pos || ',' || to_json(g.task) || ',' || g.attempt || ',' || g.enqueued_ms || ',' || g.payload::text || ',' ||
    coalesce(g.id::text, 'null') || ',' || coalesce(g.meta::text, 'null') || ',' || to_json(g.group_key) || ']',
    ',' order by g.n) || ']', 'UTF8') as batch
  from gone g
  where g.jobs is null
),
leased as (
  insert into fastq.lease_{segment} (shard, id, worker, queue, priority, group_key, batch)
  select %(shard)s, %(lease)s, %(worker)s, %(queue)s, %(priority)s, '', k.batch from pack k where k.batch is not null
  returning id, batch
)
select n.id, n.batch, n.packet, n.first, n.jobs, n.task, n.enqueued_ms, n.meta, n.group_key, n.fresh,
       (select max(p.pos + p.take - 1) from packed p where %(lease)s + p.n = n.id) as hi,
       array(select a.id from acked a) as acked, exists (select from alive) as alive, c.rows,
       c.rows > (select count(*) from line) or exists (select from packed p where p.take < p.jobs) as more
from (select count(*) as rows from pick) c left join (
  {claimed}
) n on true
order by n.id
