-- Insert up to 1024 jobs that are unique or ordered, given as lines of tab-separated fields: id or nothing, key or nothing,
-- until (finished, started or seconds), delay in seconds or nothing, run_at or nothing, queue, priority, task, group_key, meta, payload.
-- A job whose key another one holds is left out; one that is ordered goes to its line, which has to be begun then. Returns in the order of the lines who holds the key, and whether that is
-- another job. Keys that open transactions are taking or giving back are waited for, at most `patience` where that is given.
-- Locks: unique_key rows by insert, in the order of the keys (fastq.hold_keys). Index: unique_key_pkey; ready_*_pkey,
-- scheduled_pkey, scheduled_due by insert. Caller: protocol.unique.
with place as materialized (
  select nextval('fastq.pos') as base, r.head,
         set_config('lock_timeout', coalesce(%(patience)s, current_setting('lock_timeout')), true) as patience
  from fastq.ring r where r.slot = %(slot)s
),
line as materialized (
  select l.n, p.head, coalesce(nullif(split_part(l.line, E'\t', 1), '')::int8, p.base + l.n - 1) as id,
         split_part(l.line, E'\t', 2) as key, split_part(l.line, E'\t', 3) as until,
         coalesce(nullif(split_part(l.line, E'\t', 5), '')::timestamptz,
                  now() + nullif(split_part(l.line, E'\t', 4), '')::float8 * interval '1 second') as run_at,
         split_part(l.line, E'\t', 6) as queue, split_part(l.line, E'\t', 7)::int2 as priority,
         split_part(l.line, E'\t', 8) as task, split_part(l.line, E'\t', 9) as group_key,
         split_part(l.line, E'\t', 10)::json as meta, split_part(l.line, E'\t', 11)::json as payload
  from place p cross join lateral string_to_table(%(lines)s, E'\n') with ordinality as l(line, n)
),
asked as materialized (
  select array_agg(l.id order by l.n) as ids, array_agg(l.key order by l.n) as keys, array_agg(l.until order by l.n) as untils,
         array_agg(l.queue order by l.n) as queues, array_agg(l.priority order by l.n) as priorities,
         array_agg(l.group_key order by l.n) as groups
  from line l
  where l.key <> ''
),
held as materialized (
  select h.job, h.holder
  from asked a cross join lateral fastq.hold_keys(%(slot)s, a.ids, a.keys, a.untils, a.queues, a.priorities, a.groups) h
),
put as materialized (
  select l.n, l.head, l.id, l.run_at, l.queue, l.priority, l.task, l.group_key, l.meta, l.payload,
         coalesce(h.holder, l.id) as holder, fastq.ordered_of(l.meta) is not null as ordered
  from line l left join held h on h.job = l.id
),
to_line as (
  insert into fastq.line (slot, pos, run_at, queue, priority, task, group_key, meta, payload)
  select %(slot)s, p.id, p.run_at, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
  from put p
  where p.holder = p.id and p.ordered
),
to_ready as (
  insert into fastq.ready (segment, slot, pos, queue, priority, task, group_key, meta, payload)
  select p.head, %(slot)s, p.id, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
  from put p
  where p.holder = p.id and not p.ordered and p.run_at is null
),
to_scheduled as (
  insert into fastq.scheduled (slot, id, run_at, queue, priority, task, group_key, meta, payload)
  select %(slot)s, p.id, p.run_at, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
  from put p
  where p.holder = p.id and not p.ordered and p.run_at is not null
)
select p.holder, p.holder <> p.id as duplicate
from put p
order by p.n
