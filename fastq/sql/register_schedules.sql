-- Keep an app's schedules: insert those that are new, change those whose spec changed, and delete those of the same app
-- that no worker has named for `stale_s` seconds. Where the timing stays, so does the next occurrence.
-- Waits for nobody: a row that the leader holds is left for the next time.
-- Locks: cron rows for update skip locked. Index: cron_pkey. Caller: protocol.cron.
with given as materialized (
  select g.name, g.next_at, g.spec::json as spec
  from unnest(%(names)s::text[], %(first_at)s::timestamptz[], %(specs)s::text[]) as g(name, next_at, spec)
),
held as materialized (
  select c.name, c.spec::text is distinct from g.spec::text as differs,
         (c.spec ->> 'expression', c.spec ->> 'tz') is distinct from (g.spec ->> 'expression', g.spec ->> 'tz') as moved
  from fastq.cron c join given g on g.name = c.name
  where c.spec::text <> g.spec::text or c.owner <> %(owner)s or c.seen_at < now() - %(stale_s)s / 4 * interval '1 second'
  for update of c skip locked
),
changed as (
  update fastq.cron c
  set spec = g.spec, owner = %(owner)s, seen_at = now(), next_at = case when h.moved then g.next_at else c.next_at end
  from held h join given g on g.name = h.name
  where c.name = h.name
  returning c.name, h.differs
),
added as (
  insert into fastq.cron (name, next_at, spec, owner)
  select g.name, g.next_at, g.spec, %(owner)s from given g
  where not exists (select from fastq.cron c where c.name = g.name)
  order by g.name
  on conflict (name) do nothing
  returning name
),
stale as materialized (
  select c.name from fastq.cron c
  where c.owner = %(owner)s and c.seen_at < now() - %(stale_s)s * interval '1 second'
    and not exists (select from given g where g.name = c.name)
  for update skip locked
),
removed as (
  delete from fastq.cron c using stale s where c.name = s.name returning c.name
)
select a.name, 'added' as what from added a
union all
select d.name, 'changed' from changed d where d.differs
union all
select r.name, 'removed' from removed r
