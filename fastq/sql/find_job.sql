-- One job, wherever it stands; no row when it is gone.
-- Locks: none. Index: all of them in turn, see fastq.find. Caller: protocol.jobs.
select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, fastq.at_ms(f.enqueued_ms) as enqueued_at, f.run_at,
       f.claimed_at, f.finished_at, f.expires_at, f.worker, f.payload::text as payload, f.result::text as result,
       f.meta::text as meta,
       exists (select from fastq.cancellation c where c.shard = f.shard and c.job = f.id and f.state = 'running') as cancelling,
       f.ran_ms, p.progress, p.note, p.checkpoint::text as checkpoint
from fastq.find(%(id)s::int8) f
left join lateral fastq.progress_of(f.shard, f.lease, f.ord) p on true
