-- One job, wherever it stands; no row when it is gone.
-- Locks: none. Index: all of them in turn, see fastq.find. Caller: protocol.jobs.
select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, f.enqueued_at, f.run_at, f.claimed_at, f.finished_at,
       f.expires_at, f.worker, f.payload, f.result, f.meta, f.cancelling, f.ran_ms, f.progress, f.note, f.checkpoint
from fastq.show(%(id)s::int8) f
