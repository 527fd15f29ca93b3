-- Insert up to 1024 jobs that may run now, given as lines of tab-separated fields:
-- queue, priority, task, group_key, meta or nothing, payload. (JSON and names hold no raw tab or newline.)
-- Returns the first position; the others follow it in the order of the lines.
-- `ring`: with the doorbell of the fleet, which then needs no statement of its own; but NOTIFY holds a cluster-wide lock to the
-- end of the commit, so that a producer rings seldom.
-- Function: put_jobs(shard int4, lines text, ring bool) returns (base int8, rung text).
-- Locks: the notify lock, with `ring`. Index: ready_*_pkey by insert. Caller: protocol.enqueue.
with place as materialized (
  select nextval('fastq.pos') as base, r.head from fastq.ring r where r.shard = %(shard)s
),
put as (
  insert into fastq.ready (segment, shard, pos, queue, priority, task, group_key, meta, payload)
  select p.head, %(shard)s, p.base + l.n - 1, split_part(l.line, E'\t', 1), split_part(l.line, E'\t', 2)::int2,
         split_part(l.line, E'\t', 3), split_part(l.line, E'\t', 4), nullif(split_part(l.line, E'\t', 5), '')::json,
         split_part(l.line, E'\t', 6)::json
  from place p cross join lateral string_to_table(%(lines)s, E'\n') with ordinality as l(line, n)
)
select p.base, case when %(ring)s then pg_notify('fastq', %(shard)s::text)::text end as rung from place p
