-- Leases stand in segments, as ready jobs do: those of jobs from ready_2 in lease_2. So their space, too, can be given back
-- while vacuum cannot run.

alter table fastq.lease rename to lease_0;
alter table fastq.lease_0 rename constraint lease_pkey to lease_0_pkey;
alter table fastq.lease_0 add column segment int2 not null default 0;

create table fastq.lease (like fastq.lease_0 including defaults) partition by list (segment);
alter table fastq.lease attach partition fastq.lease_0 for values in (0);

do $$
declare
  granted record;
begin
  for k in 1..3 loop
    execute format('create table fastq.lease_%s partition of fastq.lease for values in (%s)
      with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
            toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000,
            toast.autovacuum_vacuum_cost_delay = 0)', k, k);
    execute format('alter table fastq.lease_%s alter column segment set default %s', k, k);
    execute format('alter table fastq.lease_%s add primary key (slot, id)', k);
    begin
      execute format('alter table fastq.lease_%s alter column batch set compression lz4', k);
    exception when others then  -- as in the first migration
      execute format('alter table fastq.lease_%s alter column batch set storage external', k);
    end;
  end loop;
  -- Whoever may use the leases may use all of them; whoever may truncate the segments, theirs too.
  for granted in
    select a.grantee, a.privilege_type, t.name
    from pg_class c
    cross join lateral aclexplode(c.relacl) a
    cross join unnest(array['lease', 'lease_0', 'lease_1', 'lease_2', 'lease_3']) as t(name)
    where (c.oid = 'fastq.lease_0'::regclass or c.oid = 'fastq.ready_0'::regclass and a.privilege_type = 'TRUNCATE' and t.name <> 'lease')
      and a.grantee <> c.relowner
  loop
    execute format('grant %s on fastq.%I to %s', granted.privilege_type, granted.name,
                   case granted.grantee when 0 then 'public' else granted.grantee::regrole::text end);
  end loop;
end $$;

-- Every job that exists, one row each; a job that is 'waiting' stands in a line.
create or replace view fastq.job as
  select slot, coalesce(id, pos) as id, 'ready' as state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms) as enqueued_at, null::timestamptz as run_at, null::timestamptz as claimed_at,
         null::timestamptz as finished_at, null::int8 as worker, payload, null::json as result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end as unique_key
  from fastq.ready
  union all
  select l.slot, j.id, 'running', l.queue, l.priority, j.group_key, j.task, j.attempt,
         fastq.at_ms(j.enqueued_ms), null, l.claimed_at, null, l.worker, j.payload, null, j.meta,
         case when j.meta is not null then fastq.unique_of(j.meta) ->> 0 end
  from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done, l.group_key) j
  union all
  select slot, id, reason, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, payload, null, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end
  from fastq.scheduled
  union all
  select slot, pos, 'waiting', queue, priority, group_key, task, 0::int2,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, payload, null, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end
  from fastq.line
  where not reserved
  union all
  select slot, id, state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), null, null, finished_at, null, payload, result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end
  from fastq.finished;

-- The ring gives the space of emptied segments back; vacuum need not lock everybody out to do so.
do $$
begin
  for k in 0..3 loop
    execute format('alter table fastq.ready_%s set (vacuum_truncate = off)', k);
    execute format('alter table fastq.lease_%s set (vacuum_truncate = off, toast.vacuum_truncate = off)', k);
  end loop;
end $$;
