-- The queues with limits or a weight of their own.
-- Locks: none. Index: none (a row for each queue that was ever paused or set). Caller: protocol.limits.
select q.name, q.max_running, q.max_running_per_group, q.rate, q.weight from fastq.queue q
where q.max_running is not null or q.max_running_per_group is not null or q.rate is not null or q.weight is not null
order by q.name
