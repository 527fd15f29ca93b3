-- Enqueue from any language, inside the caller's transaction. What puts `meta` into a row has the owner's rights and checks it:
-- producers write none themselves, but into fastq.ready, where a constraint checks it.

-- Refuse a payload that workers could not take: no object, too large, or nested so deeply that the batch around it overflows
-- the parser's stack.
drop function if exists fastq.check_payload(text, text);
create or replace function fastq.check_payload(caller text, payload json) returns void language plpgsql as $$
declare
  most int8 := (select value::text::int8 from fastq.setting where name = 'payload_limit_bytes');
  size int8 := octet_length(payload::text);
begin
  if json_typeof(payload) is distinct from 'object' then
    raise exception '%: payload must be a json object of the task''s arguments, not %', caller,
      coalesce(json_typeof(payload), 'null') using errcode = 'invalid_parameter_value';
  end if;
  if size > most then
    raise exception '%: the payload has % bytes; the limit is % (setting payload_limit_bytes)', caller, size, most
      using errcode = 'invalid_parameter_value';
  end if;
  if size > 4096 then
    begin
      perform (repeat('[', 500) || payload::text || repeat(']', 500))::json;
    exception when statement_too_complex then
      raise exception '%: the payload is nested too deeply', caller using errcode = 'invalid_parameter_value';
    end;
  end if;
end $$;

-- When a job is due; null: at once. A delay counts from now, not from the beginning of the transaction.
create or replace function fastq.due_at(caller text, delay interval, run_at timestamptz) returns timestamptz
language plpgsql as $$
begin
  if delay < interval '0' or delay > interval '36600 days' then
    raise exception '%: delay must be between 0 and 100 years, not %', caller, delay using errcode = 'invalid_parameter_value';
  end if;
  if not fastq.is_time(run_at) then
    raise exception '%: run_at must be a time between the years 1 and 9999, not %', caller, run_at
      using errcode = 'invalid_parameter_value';
  end if;
  return coalesce(run_at, clock_timestamp() + delay);
end $$;

-- Return the meta of a new job, or refuse what workers could not take.
create or replace function fastq.check_meta(caller text, meta json) returns json language plpgsql as $$
begin
  if not fastq.is_new_meta(meta) then
    raise exception '%: headers must be a json object of at most 64 kB, nested at most 100 levels deep', caller
      using errcode = 'invalid_parameter_value';
  end if;
  return meta;
end $$;

-- Return the meta for what a caller has asked for.
drop function if exists fastq.new_meta(text, text, text, json, boolean, text);
create or replace function fastq.new_meta(
  caller text, unique_key text, unique_until text, headers json, ordered boolean, on_dead text, expires interval default null
) returns json language plpgsql as $$
declare
  meta json := fastq.meta_of(unique_key, unique_until, headers);
begin
  if on_dead not in ('skip', 'block') then
    raise exception '%: on_dead must be skip or block, not %', caller, on_dead using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_unique(caller, unique_key, unique_until);
  if ordered then
    meta := fastq.meta_with(meta, 'ordered', to_json(on_dead));
  end if;
  if expires <= interval '0' or expires > interval '36600 days' then
    raise exception '%: expires must be more than 0, and at most 100 years, not %', caller, expires
      using errcode = 'invalid_parameter_value';
  end if;
  if expires is not null then
    meta := fastq.meta_with(meta, 'expires', to_json(extract(epoch from expires)::float8));
  end if;
  return fastq.check_meta(caller, case when json_typeof(headers) <> 'object' then headers else meta end);
end $$;

-- Enqueue one job; returns its id. With a `unique_key` that another job holds it returns that job's id, and nothing is
-- enqueued. `unique_until`: finished, started, or a time like '1 hour'.
-- `ordered`: after the jobs of its queue and group_key that were enqueued before it. `on_dead`: what those behind it do
-- when it has failed for good, skip it or wait (block) until it is retried or deleted. `expires`: so long after now it is not
-- begun any more, but kept as expired.
drop function if exists fastq.enqueue(text, json, text, int, interval, timestamptz, text, json, text, text, boolean, text);
create or replace function fastq.enqueue(
  task         text,
  payload      json        default '{}',
  queue        text        default 'default',
  priority     int         default 4,
  delay        interval    default null,
  run_at       timestamptz default null,
  group_key    text        default '',
  headers      json        default null,
  unique_key   text        default null,
  unique_until text        default 'finished',
  ordered      boolean     default false,
  on_dead      text        default 'skip',
  expires      interval    default null
) returns int8 language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  due    timestamptz := fastq.due_at('fastq.enqueue', enqueue.delay, enqueue.run_at);
  meta   json := fastq.new_meta('fastq.enqueue', enqueue.unique_key, enqueue.unique_until, enqueue.headers, enqueue.ordered,
                                enqueue.on_dead, enqueue.expires);
  j      fastq.a_job := row(nextval('fastq.pos'), enqueue.priority, 0, fastq.now_ms(), enqueue.queue, enqueue.group_key,
                            enqueue.task, enqueue.payload, meta);
  tie    text := fastq.tie_of(enqueue.queue, enqueue.group_key, enqueue.unique_key, enqueue.ordered);
  s      int4 := coalesce(fastq.shard_of(tie, fastq.keyed_shards()), fastq.any_shard());
  holder int8;
begin
  perform fastq.check_payload('fastq.enqueue', enqueue.payload);
  if enqueue.unique_key is not null then
    select h.holder into holder
    from fastq.hold_keys(s, array[j.id], array[enqueue.unique_key], array[enqueue.unique_until], array[j.queue],
                         array[j.priority], array[j.group_key]) h;
    if holder <> j.id then
      return holder;
    end if;
  end if;
  if enqueue.ordered then
    perform fastq.put_in_line(s, j, due);
  else
    perform fastq.put_job(s, j, due, j.id);
  end if;
  perform fastq.check_ties(s, array[tie]) where tie is not null;
  return j.id;
end $$;
revoke execute on function
  fastq.enqueue(text, json, text, int, interval, timestamptz, text, json, text, text, boolean, text, interval) from public;

-- Enqueue a json array of payloads for one task; returns how many. `unique_keys` has a key, or null, for each of them;
-- those whose keys are held are left out.
create or replace function fastq.enqueue_many(
  task         text,
  payloads     json,
  queue        text   default 'default',
  priority     int    default 4,
  unique_keys  text[] default null,
  unique_until text   default 'finished'
) returns int8 language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  put    int8;
  jobs   int8 := json_array_length(enqueue_many.payloads);
  blocks int8[];
  s      int4 := fastq.any_shard();
  apart  constant int4 := s;
  keyed  constant int := fastq.keyed_shards();
  total  int8 := 0;
begin
  perform fastq.check_payload('fastq.enqueue_many', v) from json_array_elements(enqueue_many.payloads) v;
  if enqueue_many.unique_keys is null then
    with line as (  -- a packet ends at 500 jobs or 256 kB
      select v.payload, v.n, (v.n - 1) / 500 as nth, sum(octet_length(v.payload::text) + 1) over (order by v.n) / 262144 as part
      from json_array_elements(enqueue_many.payloads) with ordinality as v(payload, n)
    ), pack as materialized (
      select nextval('fastq.pos') as pos, count(*) as jobs, min(l.n) as n, '[' || string_agg(l.payload::text, ',' order by l.n) || ']' as payloads
      from line l group by l.nth, l.part
    ), packed as (
      insert into fastq.packet (segment, shard, pos, jobs, payloads)
      select r.head, s, p.pos, p.jobs, convert_to(p.payloads, 'UTF8')
      from pack p cross join fastq.ring r where r.shard = s and p.jobs > 1
    )
    insert into fastq.ready (segment, shard, pos, priority, queue, task, jobs, packet, payload)
    select r.head, s, p.pos, enqueue_many.priority, enqueue_many.queue, enqueue_many.task, nullif(p.jobs, 1),
           case when p.jobs > 1 then p.pos end,
           case when p.jobs > 1 then '{}' else substr(p.payloads, 2, length(p.payloads) - 2)::json end
    from pack p cross join fastq.ring r
    where r.shard = s
    order by p.n;
    perform pg_notify('fastq', s::text);
    return jobs;
  elsif coalesce(array_length(enqueue_many.unique_keys, 1), 0) <> jobs then
    raise exception 'fastq.enqueue_many: there are % unique_keys for % payloads',
      coalesce(array_length(enqueue_many.unique_keys, 1), 0), jobs using errcode = 'invalid_parameter_value';
  else
    perform fastq.check_unique('fastq.enqueue_many', k, enqueue_many.unique_until) from unnest(enqueue_many.unique_keys) k;
    blocks := array(select nextval('fastq.pos') from generate_series(0, (jobs - 1) / 1024));
    for s in
      select distinct coalesce(fastq.shard_of(k, keyed), apart) from unnest(enqueue_many.unique_keys) k order by 1
    loop
      with line as materialized (
        select v.payload, v.n, k.key, blocks[(v.n - 1) / 1024 + 1] + (v.n - 1) % 1024 as id
        from json_array_elements(enqueue_many.payloads) with ordinality as v(payload, n)
        join unnest(enqueue_many.unique_keys) with ordinality as k(key, n) on k.n = v.n
        where coalesce(fastq.shard_of(k.key, keyed), apart) = s
      ),
      wish as materialized (
        select count(*) as jobs, array_agg(l.id order by l.n) as ids, array_agg(l.key order by l.n) as keys
        from line l where l.key is not null
      ),
      held as materialized (
        select h.job, h.holder
        from wish w cross join lateral fastq.hold_keys(
          s, w.ids, w.keys, array_fill(enqueue_many.unique_until, array[w.jobs::int]),
          array_fill(enqueue_many.queue, array[w.jobs::int]), array_fill(enqueue_many.priority::int2, array[w.jobs::int]),
          array_fill(''::text, array[w.jobs::int])) h
      )
      insert into fastq.ready (segment, shard, pos, priority, queue, task, payload, meta)
      select r.head, s, l.id, enqueue_many.priority, enqueue_many.queue, enqueue_many.task, l.payload,
             fastq.meta_of(l.key, enqueue_many.unique_until, null)
      from line l cross join fastq.ring r left join held h on h.job = l.id
      where r.shard = s and (l.key is null or h.holder = l.id)
      order by l.n;
      get diagnostics put = row_count;
      total := total + put;
      perform pg_notify('fastq', s::text);
    end loop;
    if fastq.keyed_shards() <> keyed then
      raise exception 'the number of shards has changed: try again' using errcode = 'FQ001';
    end if;
    return total;
  end if;
end $$;
revoke execute on function fastq.enqueue_many(text, json, text, int, text[], text) from public;

-- Enqueue up to 1024 jobs that wait for a time, are unique or ordered, given as lines of tab-separated fields: id or nothing,
-- key or nothing, until (finished, started or seconds), delay in seconds or nothing, run_at or nothing, queue, priority, task,
-- group_key, meta or nothing, payload. (JSON and names hold no raw tab or newline.)
-- A job whose key another one holds is left out; one that is ordered goes to its line, which has to be begun then. Returns in
-- the order of the lines who holds the key, or the job itself, and whether that is another job. Keys that open transactions
-- are taking or giving back are waited for, at most `patience` where that is given.
create or replace function fastq.put_lines(shard int4, lines text, patience text default null)
returns table (job int8, duplicate boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  if patience is not null then
    perform set_config('lock_timeout', patience, true);
  end if;
  return query
  with place as materialized (
    select nextval('fastq.pos') as base, r.head from fastq.ring r where r.shard = put_lines.shard
  ),
  line as materialized (
    select l.n, p.head, coalesce(nullif(l.f[1], '')::int8, p.base + l.n - 1) as id, l.f[2] as key, l.f[3] as until,
           fastq.due_at('fastq.put_lines', nullif(l.f[4], '')::float8 * interval '1 second', nullif(l.f[5], '')::timestamptz)
             as run_at,
           l.f[6] as queue, l.f[7]::int2 as priority, l.f[8] as task, l.f[9] as group_key,
           fastq.check_meta('fastq.put_lines', nullif(l.f[10], '')::json) as meta, l.f[11]::json as payload
    from place p cross join lateral (
      select string_to_array(x.line, E'\t') as f, x.n from string_to_table(put_lines.lines, E'\n') with ordinality as x(line, n)
    ) l
  ),
  asked as materialized (
    select array_agg(l.id order by l.n) as ids, array_agg(l.key order by l.n) as keys,
           array_agg(l.until order by l.n) as untils, array_agg(l.queue order by l.n) as queues,
           array_agg(l.priority order by l.n) as priorities, array_agg(l.group_key order by l.n) as groups
    from line l
    where l.key <> ''
  ),
  held as materialized (
    select h.job, h.holder
    from asked a
    cross join lateral fastq.hold_keys(put_lines.shard, a.ids, a.keys, a.untils, a.queues, a.priorities, a.groups) h
    where a.ids is not null
  ),
  put as materialized (
    select l.n, l.head, l.id, l.run_at, l.queue, l.priority, l.task, l.group_key, l.meta, l.payload,
           coalesce(h.holder, l.id) as holder, fastq.ordered_of(l.meta) is not null as ordered
    from line l left join held h on h.job = l.id
  ),
  to_line as (
    insert into fastq.line (shard, pos, run_at, queue, priority, task, group_key, meta, payload)
    select put_lines.shard, p.id, p.run_at, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
    from put p
    where p.holder = p.id and p.ordered
  ),
  to_ready as (
    insert into fastq.ready (segment, shard, pos, queue, priority, task, group_key, meta, payload)
    select p.head, put_lines.shard, p.id, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
    from put p
    where p.holder = p.id and not p.ordered and p.run_at is null
  ),
  to_scheduled as (
    insert into fastq.scheduled (shard, id, run_at, queue, priority, task, group_key, meta, payload)
    select put_lines.shard, p.id, p.run_at, p.queue, p.priority, p.task, p.group_key, p.meta, p.payload
    from put p
    where p.holder = p.id and not p.ordered and p.run_at is not null
  )
  select p.holder, p.holder <> p.id
  from put p
  order by p.n;
  if put_lines.shard <> 0 or fastq.keyed_shards() > 1 then
    perform fastq.check_ties(put_lines.shard, array(
      select fastq.tie_of(l.f[6], l.f[9], l.f[2], fastq.ordered_of(nullif(l.f[10], '')::json) is not null)
      from (select string_to_array(x.line, E'\t') as f from string_to_table(put_lines.lines, E'\n') as x(line)) l
      where l.f[2] <> '' or l.f[10] <> ''));
  end if;
end $$;
revoke execute on function fastq.put_lines(int4, text, text) from public;
