-- Up to `limit` jobs in some states that fit: those that run, by age of the claim; those that are ready, in line; those that
-- wait, by time; those in the lines of ordered groups; those that are kept, the last first. Without a queue, a task or an error, it reads no more than it shows;
-- with one at most `scan` rows of each table, or all where that is null.
-- Function: survey_jobs(states text[], queue text, task text, error text, limit int8, scan int8) returns (id int8, state text,
-- queue text, priority int2, group_key text, task text, attempt int2, enqueued_at timestamptz, run_at timestamptz,
-- claimed_at timestamptz, finished_at timestamptz, expires_at timestamptz, worker int8, payload text, result text, meta text,
-- cancelling bool, ran_ms int8, progress real, note text, checkpoint text).
-- Locks: none. Index: ready_*_pkey, scheduled_due, line_pkey, finished_by_state; all leases. Caller: protocol.jobs.
with shard as materialized (select generate_series(0, fastq.shards() - 1) as shard)
(select j.id, 'running' as state, l.queue, l.priority, j.group_key, j.task, j.attempt, fastq.at_ms(j.enqueued_ms) as enqueued_at,
        null::timestamptz as run_at, l.claimed_at, null::timestamptz as finished_at, null::timestamptz as expires_at, l.worker,
        j.payload::text as payload, null::text as result, j.meta::text as meta,
        exists (select from fastq.cancellation c where c.shard = l.shard and c.job = j.id) as cancelling,
        null::int8 as ran_ms, p.share as progress, p.note, p.checkpoint::text as checkpoint
 from (select h as whole, h.shard, h.id, h.queue, h.priority, h.claimed_at, h.worker from fastq.lease h
       where 'running' = any (%(states)s) and (%(queue)s::text is null or h.queue = %(queue)s)
       order by h.claimed_at) l
 cross join lateral fastq.try_jobs_of(l.whole) j
 left join fastq.progress p on p.shard = l.shard and p.lease = l.id and p.ord = j.ord
 where (%(task)s::text is null or j.task = %(task)s) and (%(error)s::text is null or fastq.has_error(j.meta, %(error)s))
 limit %(limit)s)
union all
(select e.job, 'ready', r.queue, r.priority, r.group_key, r.task, r.attempt, fastq.at_ms(r.enqueued_ms), null, null, null, null,
        null, e.args::text, null, r.meta::text, false, null, null, null, null
 from shard s cross join lateral (
   select coalesce(r.id, r.pos) as id, r.queue, r.priority, r.group_key, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta, r.shard,
          r.jobs, r.packet
   from (
     select r.id, r.pos, r.queue, r.priority, r.group_key, r.task, r.attempt, r.enqueued_ms, r.payload, r.meta, r.shard, r.jobs, r.packet
     from fastq.ready r
     where r.shard = s.shard and 'ready' = any (%(states)s) and (%(queue)s::text is null or r.queue = %(queue)s)
     order by r.queue, r.priority, r.group_key, r.pos
     limit %(scan)s) r
   where (%(task)s::text is null or r.task = %(task)s) and (%(error)s::text is null or fastq.has_error(r.meta, %(error)s))
   order by r.queue, r.priority, r.group_key, r.pos
   limit %(limit)s) r cross join lateral fastq.each(r.shard, r.id, r.jobs, r.packet, r.payload) e
 limit %(limit)s)
union all
(select e.job, w.reason, w.queue, w.priority, w.group_key, w.task, w.attempt, fastq.at_ms(w.enqueued_ms), w.run_at, null, null,
        null, null, e.args::text, null, w.meta::text, false, null, null, null, null
 from shard s cross join lateral (
   (select w.id, w.reason, w.queue, w.priority, w.group_key, w.task, w.attempt, w.enqueued_ms, w.run_at, w.payload, w.meta, w.shard,
           w.jobs, w.packet
    from (
      select w.id, w.reason, w.queue, w.priority, w.group_key, w.task, w.attempt, w.enqueued_ms, w.run_at, w.payload, w.meta, w.shard,
             w.jobs, w.packet
      from fastq.scheduled w
      where w.shard = s.shard and w.reason <> 'reserved' and w.reason = any (%(states)s)
        and %(states)s::text[] && array['scheduled', 'retrying']
      order by w.run_at
      limit %(scan)s) w
    where (%(queue)s::text is null or w.queue = %(queue)s) and (%(task)s::text is null or w.task = %(task)s)
      and (%(error)s::text is null or fastq.has_error(w.meta, %(error)s))
    order by w.run_at
    limit %(limit)s)
   union all
   (select w.id, w.reason, w.queue, w.priority, w.group_key, w.task, w.attempt, w.enqueued_ms, w.run_at, w.payload, w.meta, w.shard,
           w.jobs, w.packet
    from fastq.scheduled w
    where w.shard = s.shard and w.reason = 'reserved' and 'reserved' = any (%(states)s)
      and (%(queue)s::text is null or w.queue = %(queue)s) and (%(task)s::text is null or w.task = %(task)s)
      and (%(error)s::text is null or fastq.has_error(w.meta, %(error)s))
    limit %(limit)s)) w cross join lateral fastq.each(w.shard, w.id, w.jobs, w.packet, w.payload) e
 order by w.run_at
 limit %(limit)s)
union all
(select l.pos, 'waiting', l.queue, l.priority, l.group_key, l.task, 0::int2, fastq.at_ms(l.enqueued_ms), l.run_at, null, null, null,
        null, l.payload::text, null, l.meta::text, false, null, null, null, null
 from shard s cross join lateral (
   select l.pos, l.queue, l.priority, l.group_key, l.task, l.enqueued_ms, l.run_at, l.payload, l.meta
   from (
     select l.pos, l.queue, l.priority, l.group_key, l.task, l.enqueued_ms, l.run_at, l.payload, l.meta
     from fastq.line l
     where l.shard = s.shard and not l.reserved and 'waiting' = any (%(states)s) and (%(queue)s::text is null or l.queue = %(queue)s)
     order by l.queue, l.group_key, l.pos
     limit %(scan)s) l
   where (%(task)s::text is null or l.task = %(task)s) and (%(error)s::text is null or fastq.has_error(l.meta, %(error)s))
   order by l.queue, l.group_key, l.pos
   limit %(limit)s) l
 limit %(limit)s)
union all
(select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, fastq.at_ms(f.enqueued_ms), null, null, f.finished_at,
        f.expires_at, null, f.payload::text, f.result::text, f.meta::text, false, f.ran_ms, null, null, null
 from shard s cross join unnest(array['failed', 'discarded', 'cancelled', 'expired', 'succeeded']) as k(state) cross join lateral (
   select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, f.enqueued_ms, f.finished_at, f.expires_at,
          f.payload, f.result, f.meta, f.ran_ms
   from (
     select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, f.enqueued_ms, f.finished_at, f.expires_at,
            f.payload, f.result, f.meta, f.ran_ms
     from fastq.finished f
     where f.shard = s.shard and f.state = k.state and k.state = any (%(states)s)
     order by f.finished_at desc
     limit %(scan)s) f
   where (%(queue)s::text is null or f.queue = %(queue)s) and (%(task)s::text is null or f.task = %(task)s)
     and (%(error)s::text is null or fastq.has_error(f.meta, %(error)s))
   order by f.finished_at desc
   limit %(limit)s) f
 order by f.finished_at desc
 limit %(limit)s)
limit %(limit)s
