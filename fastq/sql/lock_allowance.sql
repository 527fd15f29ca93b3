-- Let one claim of a queue with limits go on at a time; says what its limits are and how many starts its rate allows now:
-- never more than those of one second, at least one.
-- Locks: the allowance row for update, until the claim is committed. Index: allowance_pkey, queue_pkey.
-- Caller: protocol.limits.
select q.max_running, q.max_running_per_group, q.rate,
       least(greatest(1.0, q.rate), a.tokens + q.rate * greatest(0.0, extract(epoch from clock_timestamp() - a.filled_at)::float8))
         as tokens,
       clock_timestamp()::text as filled_at
from fastq.allowance a left join fastq.queue q on q.name = %(queue)s
where a.shard = %(shard)s and a.queue = %(queue)s
for update of a
