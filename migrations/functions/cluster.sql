-- On a cluster of Citus: each function whose first argument is a shard runs on the node that has it, as plain PostgreSQL. A node has
-- a schema fastq_s<shard> for each of its shards: all functions once more, with the names of the shard's own tables in their texts. The
-- functions of the schema fastq only call them; Citus carries such a call to the node. Without a cluster none of this is used.

-- The tables that a cluster spreads or copies, with the names that they have on the node of a shard.
create or replace function fastq.placed_tables(s int4) returns table (name text, id int8) language plpgsql stable as $$
begin
  return query
    select c.relname::text, case when p.partmethod = 'n' then (select d.shardid from pg_dist_shard d where d.logicalrelid = c.oid)
                                 else get_shard_id_for_distribution_column(c.oid, s) end
    from pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
    where c.relnamespace = 'fastq'::regnamespace;
end $$;

-- Make the functions of a shard on the node that has it. Run by the first call that needs them, and by `fastq migrate`.
-- With the owner's rights, because after a move that call may be anybody's.
create or replace function fastq.install(s int4) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  home   constant text := format('fastq_s%s', s);
  calls  constant text := '\mfastq\.(' || (
    select string_agg(distinct m[1], '|')
    from fastq.template x cross join lateral regexp_matches(x.sql, 'create or replace function fastq\.(\w+)', 'g') m) || ')(?=\s*\()';
  tables constant json := (select json_object_agg(t.name, t.id) from fastq.placed_tables(s) t);
  t      record;
  name   text;
  body   text;
begin
  perform pg_advisory_xact_lock(hashtext('fastq.install'), s);
  perform set_config('citus.enable_ddl_propagation', 'off', true), set_config('check_function_bodies', 'off', true),
          set_config('client_min_messages', 'warning', true);
  if not exists (select from pg_dist_placement p join pg_dist_local_group g on g.groupid = p.groupid
                 where p.shardid = (tables ->> 'worker')::int8) then
    raise exception 'shard % is not on this node', s using errcode = 'FQ002';
  end if;
  execute format('drop schema if exists %I cascade', home);
  execute format('create schema %I', home);
  for t in select x.sql from fastq.template x order by x.n loop
    body := regexp_replace(t.sql, calls, home || '.\1', 'g');
    body := regexp_replace(body, '(function(?: if exists)?\s+)fastq\.', '\1' || home || '.', 'gi');
    for name in select k from json_object_keys(tables) k order by length(k) desc loop
      body := regexp_replace(body, '\mfastq\.' || name || '\M(?!\()', 'fastq.' || name || '_' || (tables ->> name), 'g');
    end loop;
    execute replace(body, 'pg_notify(', home || '.hush(');
  end loop;
  for t in  -- what Citus leaves out where it makes a piece of a table
    select d.adrelid::regclass::text || '_' || (tables ->> c.relname) as name, a.attname, pg_get_expr(d.adbin, d.adrelid) as value
    from pg_attrdef d join pg_class c on c.oid = d.adrelid join pg_attribute a on a.attrelid = c.oid and a.attnum = d.adnum
    where c.relnamespace = 'fastq'::regnamespace and tables ->> c.relname is not null
      and pg_get_expr(d.adbin, d.adrelid) like 'nextval%'
  loop
    execute format('alter table %s alter column %I set default %s', t.name, t.attname, t.value);
  end loop;
  execute format('create or replace function %I.all_shards() returns setof int language sql immutable as $f$ select %s $f$', home, s);
  execute format('create or replace function %I.any_shard() returns int language sql immutable as $f$ select %s $f$', home, s);
  execute format($f$
    create function %1$I.hush(channel text, payload text) returns text language sql immutable as $b$ select null::text $b$;
    create or replace function %1$I.home_of(s int4, queue text, group_key text, meta json) returns int language plpgsql stable as $b$
    begin
      if fastq.shard_of(fastq.tie_of(queue, group_key, meta), %1$I.keyed_shards()) <> %2$s then
        raise exception 'this job was kept when there were fewer shards: enqueue it anew' using errcode = 'FQ001';
      end if;
      return s;
    end $b$;
    create or replace function %1$I.enter() returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $b$
    begin
      perform lock_shard_resources(3, %3$L::int8[]);
      if not exists (select from pg_dist_placement p join pg_dist_local_group g on g.groupid = p.groupid where p.shardid = %4$s) then
        raise exception 'shard %2$s has moved to another node: try again' using errcode = 'FQ002';
      end if;
    end $b$ $f$, home, s, (select array_agg(x.value::int8 order by 1) from json_each_text(tables) x), tables ->> 'worker');
  perform fastq.pass_grants(s);
end $$;
revoke execute on function fastq.install(int4) from public;

-- Let those who may use the schema fastq, and its functions, use a shard's on the node that has it, too. Run by `install`, and by the
-- owner after new grants.
create or replace function fastq.pass_grants(s int4) returns void language plpgsql as $$
declare
  home constant text := format('fastq_s%s', s);
  t    record;
begin
  if to_regnamespace(home) is null then return; end if;
  perform set_config('citus.enable_ddl_propagation', 'off', true);
  for t in
    select format('grant usage on schema %I to %s', home, a.grantee::regrole) as text
    from pg_namespace n cross join lateral aclexplode(n.nspacl) a
    where n.nspname = 'fastq' and a.privilege_type = 'USAGE' and a.grantee not in (0, n.nspowner)
    union all
    select format('grant execute on function %s to %s', own.oid::regprocedure, a.grantee::regrole)
    from pg_proc p cross join lateral aclexplode(p.proacl) a
    join pg_proc own on own.pronamespace = to_regnamespace(home) and own.proname = p.proname and own.proargtypes = p.proargtypes
    where p.pronamespace = 'fastq'::regnamespace and a.grantee not in (0, p.proowner)
  loop
    execute t.text;
  end loop;
end $$;

-- What creates the function that calls another one in the schema of the shard that is its first argument. `prefixed`: the other one has
-- no such argument, and it is called at_<name>.
create or replace function fastq.dispatcher_of(f regprocedure, prefixed boolean default false) returns text language plpgsql as $$
declare
  p       pg_proc := (select x from pg_proc x where x.oid = f);
  first   constant int := case when prefixed then 2 else 1 end;
  args    text := pg_get_function_arguments(f);
  result  constant text := pg_get_function_result(f);
  holes   constant text := (select string_agg('$' || n, ', ' order by n) from generate_series(1, p.pronargs) n);
  given   constant text := coalesce(' using ' || (select string_agg('$' || n, ', ' order by n)
                                                  from generate_series(first, p.pronargs + first - 1) n), '');
  outs    constant text := (select string_agg(p.proargnames[n], ', ' order by n) from generate_subscripts(p.proargmodes, 1) n
                            where p.proargmodes[n] = 'o');
  looks   constant boolean := p.proname ~ '^(discover|list_|find|progress_of|each|payloads|count_)';
  call    constant text := case
    when looks then format('execute format(''select * from fastq_s%%s.%I(%s)'', $1)', p.proname, holes)
    else format('execute format(''select x.* from fastq_s%%1$s.enter() cross join lateral fastq_s%%1$s.%I(%s) x'', $1)', p.proname,
                holes) end;
  body    text;
begin
  if prefixed then
    args := 'p_shard int4' || coalesce(', ' || nullif(args, ''), '');
  end if;
  body := case when p.proretset then format('return query %s%s;', call, given)
               when outs is not null then format('%s into %s%s;', call, outs, given)
               when result = 'void' then format('%s%s;', call, given)
               else format('%s into answer%s; return answer;', call, given) end;
  return format(
    'create or replace function fastq.%I(%s) returns %s language plpgsql set jit = off as $f$ %s begin'
    ' if to_regnamespace(''fastq_s'' || $1) is null then perform fastq.install($1); end if; %s end $f$',
    case when prefixed then 'at_' else '' end || p.proname, args, result,
    case when p.proretset or outs is not null or result = 'void' then '' else 'declare answer ' || result || ';' end,
    body);
end $$;
