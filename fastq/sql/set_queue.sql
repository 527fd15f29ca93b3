-- Change what is given of a queue's settings: the names in `given`; null takes a setting away. Workers hear of it.
-- Locks: the queue's row by upsert. Index: queue_pkey. Caller: protocol.limits.
with put as (
  insert into fastq.queue as q (name, max_running, max_running_per_group, rate, weight)
  values (%(queue)s, %(max_running)s::int4, %(max_running_per_group)s::int4, %(rate)s::float8, %(weight)s::int4)
  on conflict (name) do update set
    max_running = case when 'max_running' = any (%(given)s::text[]) then excluded.max_running else q.max_running end,
    max_running_per_group = case when 'max_running_per_group' = any (%(given)s::text[]) then excluded.max_running_per_group
                                 else q.max_running_per_group end,
    rate = case when 'rate' = any (%(given)s::text[]) then excluded.rate else q.rate end,
    weight = case when 'weight' = any (%(given)s::text[]) then excluded.weight else q.weight end
  returning q.name, q.max_running, q.max_running_per_group, q.rate, q.weight
)
select p.name, p.max_running, p.max_running_per_group, p.rate, p.weight, pg_notify('fastq', '')::text as told from put p
