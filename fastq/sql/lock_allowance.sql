-- Let one claim of a queue with limits go on at a time; says what its limits are and how many starts its rate allows now:
-- never more than those of one second, at least one. Whoever holds it is waited for `patience`, like 100ms, not more: a
-- frozen worker holds it for as long as it is frozen, which the server ends after `absence`, like 10s.
-- Locks: the allowance row for update, until the claim is committed. Index: allowance_pkey, queue_pkey.
-- Caller: protocol.limits.
select q.max_running, q.max_running_per_group, q.rate,
       least(greatest(1.0, q.rate), a.tokens + q.rate * greatest(0.0, extract(epoch from clock_timestamp() - a.filled_at)::float8))
         as tokens,
       clock_timestamp()::text as filled_at
from fastq.allowance a left join fastq.queue q on q.name = %(queue)s
where a.shard = %(shard)s and a.queue = %(queue)s
  and (select set_config('lock_timeout', %(patience)s::text, true)) is not null  -- before the row is locked
  and (select set_config('idle_in_transaction_session_timeout', %(absence)s::text, true)) is not null
for update of a
