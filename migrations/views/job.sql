-- Every job that exists, one row each; a job that is 'waiting' stands in a line. Of a kept one it is known when its last
-- run started, and how long that took; of a running one how far it says that it has come.
create or replace view fastq.job as
  select r.shard, e.job as id, 'ready' as state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms) as enqueued_at, null::timestamptz as run_at, null::timestamptz as claimed_at,
         null::timestamptz as finished_at, null::int8 as worker, e.args as payload, null::json as result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end as unique_key,
         null::timestamptz as started_at, null::interval as duration, null::float4 as progress, null::text as note
  from fastq.ready r cross join lateral fastq.each(r.shard, coalesce(r.id, r.pos), r.jobs, r.packet, r.payload) e
  union all
  select l.shard, j.id, 'running', l.queue, l.priority, j.group_key, j.task, j.attempt,
         fastq.at_ms(j.enqueued_ms), null, l.claimed_at, null, l.worker, j.payload, null, j.meta,
         case when j.meta is not null then fastq.unique_of(j.meta) ->> 0 end, null, null, p.share, p.note
  from fastq.lease l cross join lateral fastq.try_jobs_of(row(l.*)::fastq.lease) j
  left join fastq.progress p on p.shard = l.shard and p.lease = l.id and p.ord = j.ord
  union all
  select w.shard, e.job, reason, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, e.args, null, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end, null, null, null, null
  from fastq.scheduled w cross join lateral fastq.each(w.shard, w.id, w.jobs, w.packet, w.payload) e
  union all
  select shard, pos, 'waiting', queue, priority, group_key, task, 0::int2,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, payload, null, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end, null, null, null, null
  from fastq.line
  where not reserved
  union all
  select shard, id, state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), null, null, finished_at, null, payload, result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end,
         finished_at - ran_ms * interval '1 ms', ran_ms * interval '1 ms', null, null
  from fastq.finished;
