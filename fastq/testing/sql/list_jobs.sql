-- All jobs of a task, or of all tasks ($1 null), in the order of their ids, each as one json value: `fastq.job.Job`.
-- Parameters are libpq's, since it is also run on connections of other drivers' wrappers.
-- Locks: none. Index: none (a test's database is small). Caller: testing.jobs.
select json_build_object(
  'id', j.id, 'task', j.task, 'queue', j.queue, 'state', j.state, 'attempt', j.attempt, 'args', coalesce(j.payload, '{}'),
  'priority', j.priority, 'enqueued_at', j.enqueued_at, 'run_at', j.run_at, 'finished_at', j.finished_at,
  'errors', coalesce(j.meta -> 'errors', '[]'::json), 'headers', j.meta -> 'headers')
from fastq.job j
where $1::text is null or j.task = $1
order by j.id
