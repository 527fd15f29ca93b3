-- One word for one thing: a shard of the database is no slot of a worker.
do $$
declare
  t text;
begin
  foreach t in array array['allowance', 'cancellation', 'committed', 'finished', 'head', 'lease', 'line', 'progress', 'ready',
                           'ring', 'scheduled', 'unique_key', 'worker'] loop
    execute format('alter table fastq.%I rename column slot to shard', t);
  end loop;
end $$;
update fastq.setting set name = 'shards' where name = 'slots';
alter view if exists fastq.job rename column slot to shard;

-- Arguments cannot be renamed: these functions are made again, and whoever might call them still may.
set local check_function_bodies = off;
do $$
declare
  f record;
  g record;
begin
  for f in
    select p.oid::regprocedure as name, p.proacl, p.proowner, d.text,
           regexp_replace(p.oid::regprocedure::text, '\mslots\M', 'shards') as new_name
    from pg_proc p
    cross join lateral (select regexp_replace(pg_get_functiondef(p.oid), '\mslot(s?)\M', 'shard\1', 'g') as text) d
    where p.pronamespace = 'fastq'::regnamespace and ('slot' = any (p.proargnames) or p.proname = 'slots')
  loop
    execute format('drop function %s', f.name);
    execute f.text;
    if f.proacl is not null then
      execute format('revoke execute on function %s from public', f.new_name);
      for g in select x.grantee from aclexplode(f.proacl) x where x.privilege_type = 'EXECUTE' and x.grantee <> f.proowner loop
        execute format('grant execute on function %s to %s', f.new_name,
                       case when g.grantee = 0 then 'public' else g.grantee::regrole::text end);
      end loop;
    end if;
  end loop;
end $$;
