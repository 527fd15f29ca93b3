-- Tasks of jobs that this worker leaves to others, among the first `limit` jobs of one segment that are in its queues.
-- Run over all segments at once: `over_segments`. Only for people: that a job waits for nobody must not stay unsaid.
-- Function: list_unwanted_tasks(shard int4, queues text[], exclude text[], names text[], limit int8) returns (task text).
-- Locks: none. Index: ready_{segment}_pkey. Caller: protocol.discover.
select distinct f.task
from (
  select r.task from fastq.ready_{segment} r
  where r.shard = %(shard)s and (cardinality(%(queues)s::text[]) = 0 or r.queue = any (%(queues)s)) and r.queue <> all (%(exclude)s)
  order by r.queue, r.priority, r.group_key, r.pos
  limit %(limit)s
) f
where not (f.task = any (%(names)s::text[]))
