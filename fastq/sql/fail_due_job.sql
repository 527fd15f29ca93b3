-- Keep the first due job, or the jobs of the first packet, as failed, which cannot be put into line, with the reason; under a new id if its own is kept already.
-- A key or a line that it holds is left to the sweeps of the leader.
-- Function: fail_due_job(shard int4, since timestamptz, meta json) returns (id int8).
-- Locks: the scheduled row for update skip locked. Index: scheduled_due, finished_pkey. Caller: protocol.upkeep.
with due as materialized (
  select s.id from fastq.scheduled s
  where s.shard = %(shard)s and s.reason <> 'reserved' and s.run_at <= now() and s.run_at >= %(since)s::timestamptz
  order by s.run_at
  limit 1
  for update skip locked
),
moved as (
  delete from fastq.scheduled s using due d where s.shard = %(shard)s and s.id = d.id
  returning s.id, s.priority, s.attempt, s.enqueued_ms, s.queue, s.group_key, s.task, s.payload, s.jobs, s.packet
)
insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
select %(shard)s,
       case when exists (select from fastq.finished f where f.shard = %(shard)s and f.id = e.job) then nextval('fastq.pos') else e.job end,
       'failed', m.priority, greatest(m.attempt, 0), least(greatest(m.enqueued_ms, 0), 253402214399999), m.queue, m.group_key, m.task,
       e.args, %(meta)s::json
from moved m cross join lateral fastq.each(%(shard)s::int4, m.id, m.jobs, m.packet, m.payload) e
returning id
