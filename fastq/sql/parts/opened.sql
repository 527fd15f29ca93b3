-- Of the rows in `packed` the first `take` jobs go into a lease each, numbered from `lease` by `n`; the others become a row
-- of ready again.
rest as (
  insert into fastq.ready{of} (shard, queue, priority, group_key, pos, id, jobs, packet, task, enqueued_ms, meta)
  select %(shard)s, %(queue)s, %(priority)s, p.group_key, p.pos + p.take, p.id + p.take, p.jobs - p.take, p.packet, p.task,
         p.enqueued_ms, p.meta
  from packed p where p.take < p.jobs
),
opened as (
  insert into fastq.lease{of} (shard, id, worker, queue, priority, group_key, packet, first, jobs, task, enqueued_ms, meta)
  select %(shard)s, %(lease)s + p.n, %(worker)s, %(queue)s, %(priority)s, p.group_key, p.packet, coalesce(p.id, p.pos), p.take,
         p.task, p.enqueued_ms, p.meta
  from packed p
  returning id, packet, first, jobs, task, enqueued_ms, meta, group_key
)
