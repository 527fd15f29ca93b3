-- Insert up to 1024 jobs that may run now, given as lines of tab-separated fields: how many jobs go together, queue, priority,
-- task, group_key, meta or nothing, payload, or where there are many, a JSON array of theirs. (JSON and names hold no raw tab
-- or newline.)
-- Returns the first position; the others follow it in the order of the lines.
-- `ring`: with the doorbell of the fleet, which then needs no statement of its own; but NOTIFY holds a cluster-wide lock to the
-- end of the commit, so that a producer rings seldom.
-- Function: put_packets(shard int4, lines text, ring bool) returns (base int8, rung text).
-- Locks: the notify lock, with `ring`. Index: ready_*_pkey, packet_*_pkey by insert. Caller: protocol.enqueue.
with place as materialized (
  select nextval('fastq.pos') as base, r.head from fastq.ring r where r.shard = %(shard)s
),
line as materialized (
  select p.head, p.base + sum(l.f[1]::int2) over (order by l.n) - l.f[1]::int2 as pos, nullif(l.f[1], '1')::int2 as jobs, l.f
  from place p cross join lateral (
    select string_to_array(x.line, E'\t') as f, x.n from string_to_table(%(lines)s, E'\n') with ordinality as x(line, n)
  ) l
),
packed as (
  insert into fastq.packet (segment, shard, pos, jobs, payloads)
  select l.head, %(shard)s, l.pos, l.jobs, convert_to(l.f[7], 'UTF8') from line l where l.jobs is not null
),
put as (
  insert into fastq.ready (segment, shard, pos, queue, priority, task, group_key, meta, jobs, packet, payload)
  select l.head, %(shard)s, l.pos, l.f[2], l.f[3]::int2, l.f[4], l.f[5], nullif(l.f[6], '')::json, l.jobs,
         case when l.jobs is not null then l.pos end, case when l.jobs is null then l.f[7]::json else '{}' end
  from line l
)
select p.base, case when %(ring)s then pg_notify('fastq', %(shard)s::text)::text end as rung from place p
