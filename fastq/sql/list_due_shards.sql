-- Of each shard in how many seconds its next job is due, looking from its `since` on; none waits where there is no row.
-- Locks: none. Index: scheduled_due. Caller: protocol.upkeep.
select sh.shard, d.due_s
from unnest(%(shards)s::int4[], %(since)s::timestamptz[]) as sh(shard, since)
cross join lateral (
  select extract(epoch from greatest(least(s.run_at, now() + interval '1 day'), now() - interval '1 day') - now())::float8 as due_s
  from fastq.scheduled s
  where s.shard = sh.shard and s.reason <> 'reserved' and s.run_at >= sh.since
  order by s.run_at limit 1
) d
