-- Move up to `limit` rows of jobs whose time has come from scheduled to ready; also says when the next one is due.
-- By address, because a third of the cost was to find each locked row again by its key. A row that was changed while its
-- lock was taken has another address now, and is left for the next time.
-- Its commit need not be waited for: one that a crash of the server loses leaves the jobs where they were, still due.
-- Of a `run_at` of infinity PostgreSQL subtracts nothing before version 17: nobody waits for longer than a day.
-- Looks from `since` on, which keeps it off the dead entries of what was promoted when vacuum cannot run; `mark` is the next
-- `since`, a second back, because a row can be committed after its time. Callers look from -infinity now and then.
-- Function: promote_due_jobs(shard int4, since timestamptz, limit int8) returns (promoted int8, next_due_s float8, mark
-- text, quick text).
-- Locks: scheduled rows for update skip locked. Index: scheduled_due. Caller: protocol.upkeep.
with due as materialized (
  select s.ctid as place from fastq.scheduled s
  where s.shard = %(shard)s and s.reason <> 'reserved' and s.run_at <= now() and s.run_at >= %(since)s::timestamptz
  order by s.run_at
  limit %(limit)s
  for update skip locked
),
moved as (
  delete from fastq.scheduled s where s.shard = %(shard)s and s.ctid = any (array(select d.place from due d))
  returning s.id, s.run_at, s.priority, s.attempt, s.enqueued_ms, s.queue, s.group_key, s.task, s.payload, s.meta, s.jobs, s.packet
),
put as (
  insert into fastq.ready (segment, shard, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta, jobs, packet)
  select coalesce((select r.head from fastq.ring r where r.shard = %(shard)s), 0), %(shard)s, m.priority, m.attempt, m.id, m.enqueued_ms, m.queue, m.group_key, m.task, m.payload, m.meta, m.jobs,
         m.packet
  from moved m
  order by m.run_at, m.id
)
select (select coalesce(sum(coalesce(m.jobs, 1)), 0) from moved m) as promoted,
       (select extract(epoch from least(s.run_at, now() + interval '1 day') - now())::float8 from fastq.scheduled s
        where s.shard = %(shard)s and s.reason <> 'reserved' and s.run_at > now()
        order by s.run_at limit 1) as next_due_s,
       (select (case when count(*) < %(limit)s then now() else max(m.run_at) end - interval '1 second')::text
        from moved m) as mark,
       set_config('synchronous_commit', 'off', true) as quick
