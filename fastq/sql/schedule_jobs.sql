-- Insert up to 1024 jobs that wait for a time, given as lines of tab-separated fields: delay in seconds or nothing,
-- run_at or nothing, queue, priority, task, group_key, meta or nothing, payload.
-- Returns the first id; the others follow it in the order of the lines.
-- Locks: none. Index: scheduled_pkey, scheduled_due by insert. Caller: protocol.enqueue.
with place as materialized (
  select nextval('fastq.pos') as base
),
put as (
  insert into fastq.scheduled (slot, id, run_at, queue, priority, task, group_key, meta, payload)
  select %(slot)s, p.base + l.n - 1,
         coalesce(nullif(split_part(l.line, E'\t', 2), '')::timestamptz,
                  now() + nullif(split_part(l.line, E'\t', 1), '')::float8 * interval '1 second'),
         split_part(l.line, E'\t', 3), split_part(l.line, E'\t', 4)::int2, split_part(l.line, E'\t', 5),
         split_part(l.line, E'\t', 6), nullif(split_part(l.line, E'\t', 7), '')::json, split_part(l.line, E'\t', 8)::json
  from place p cross join lateral string_to_table(%(lines)s, E'\n') with ordinality as l(line, n)
)
select p.base from place p
