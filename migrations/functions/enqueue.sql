-- Enqueue from any language, inside the caller's transaction.

-- Refuse a payload that workers could not take: too large, or nested so deeply that the batch around it overflows the
-- parser's stack.
create or replace function fastq.check_payload(caller text, payload text) returns void language plpgsql as $$
declare
  most int8 := (select value::text::int8 from fastq.setting where name = 'payload_limit_bytes');
begin
  if octet_length(payload) > most then
    raise exception '%: the payload has % bytes; the limit is % (setting payload_limit_bytes)', caller, octet_length(payload), most
      using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(payload) > 4096 then
    begin
      perform (repeat('[', 500) || payload || repeat(']', 500))::json;
    exception when statement_too_complex then
      raise exception '%: the payload is nested too deeply', caller using errcode = 'invalid_parameter_value';
    end;
  end if;
end $$;

-- Enqueue one job; returns its id. With a `unique_key` that another job holds it returns that job's id, and nothing is
-- enqueued. `unique_until`: finished, started, or a time like '1 hour'.
-- `ordered`: after the jobs of its queue and group_key that were enqueued before it. `on_dead`: what those behind it do
-- when it has failed for good, skip it or wait (block) until it is retried or deleted.
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
  on_dead      text        default 'skip'
) returns int8 language plpgsql as $$
#variable_conflict use_column
declare
  due    timestamptz := coalesce(enqueue.run_at, now() + enqueue.delay);
  put    int8;
  holder int8;
  meta   json := fastq.meta_of(enqueue.unique_key, enqueue.unique_until, enqueue.headers);
begin
  if json_typeof(enqueue.payload) is distinct from 'object' then
    raise exception 'fastq.enqueue: payload must be a json object of the task''s arguments, not %',
      coalesce(json_typeof(enqueue.payload), 'null') using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.enqueue', enqueue.payload::text);
  if enqueue.on_dead not in ('skip', 'block') then
    raise exception 'fastq.enqueue: on_dead must be skip or block, not %', enqueue.on_dead using errcode = 'invalid_parameter_value';
  end if;
  put := nextval('fastq.pos');
  if enqueue.unique_key is not null then
    perform fastq.check_unique('fastq.enqueue', enqueue.unique_key, enqueue.unique_until);
    select h.holder into holder
    from fastq.hold_keys(0, array[put], array[enqueue.unique_key], array[enqueue.unique_until], array[enqueue.queue],
                         array[enqueue.priority::int2], array[enqueue.group_key]) h;
    if holder <> put then
      return holder;
    end if;
  end if;
  if enqueue.ordered then
    meta := fastq.meta_ordered(meta, enqueue.on_dead);
    insert into fastq.line (slot, pos, run_at, priority, queue, group_key, task, payload, meta)
    values (0, put, due, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload, meta);
    perform fastq.begin_lines(0, array[enqueue.queue], array[enqueue.group_key]);
    return put;
  end if;
  if due is not null and due > now() then
    insert into fastq.scheduled (slot, id, run_at, priority, queue, group_key, task, payload, meta)
    values (0, put, due, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
            meta);
  else
    insert into fastq.ready (segment, slot, pos, priority, queue, group_key, task, payload, meta)
    select r.head, 0, put, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
           meta
    from fastq.ring r where r.slot = 0;
    perform pg_notify('fastq', '');
  end if;
  return put;
end $$;

-- Enqueue a json array of payloads for one task; returns how many. `unique_keys` has a key, or null, for each of them;
-- those whose keys are held are left out.
create or replace function fastq.enqueue_many(
  task         text,
  payloads     json,
  queue        text   default 'default',
  priority     int    default 4,
  unique_keys  text[] default null,
  unique_until text   default 'finished'
) returns int8 language plpgsql as $$
#variable_conflict use_column
declare
  put    int8;
  jobs   int8 := json_array_length(enqueue_many.payloads);
  blocks int8[];
begin
  if exists (select from json_array_elements(enqueue_many.payloads) v where json_typeof(v) <> 'object') then
    raise exception 'fastq.enqueue_many: every payload must be a json object' using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.enqueue_many', v::text) from json_array_elements(enqueue_many.payloads) v;
  if enqueue_many.unique_keys is null then
    insert into fastq.ready (segment, slot, priority, queue, task, payload)
    select r.head, 0, enqueue_many.priority, enqueue_many.queue, enqueue_many.task, v
    from fastq.ring r cross join lateral json_array_elements(enqueue_many.payloads) v
    where r.slot = 0;
  elsif coalesce(array_length(enqueue_many.unique_keys, 1), 0) <> jobs then
    raise exception 'fastq.enqueue_many: there are % unique_keys for % payloads',
      coalesce(array_length(enqueue_many.unique_keys, 1), 0), jobs using errcode = 'invalid_parameter_value';
  else
    perform fastq.check_unique('fastq.enqueue_many', k, enqueue_many.unique_until) from unnest(enqueue_many.unique_keys) k;
    blocks := array(select nextval('fastq.pos') from generate_series(0, (jobs - 1) / 1024));
    with line as materialized (
      select v.payload, v.n, k.key, blocks[(v.n - 1) / 1024 + 1] + (v.n - 1) % 1024 as id
      from json_array_elements(enqueue_many.payloads) with ordinality as v(payload, n)
      join unnest(enqueue_many.unique_keys) with ordinality as k(key, n) on k.n = v.n
    ),
    wish as materialized (
      select count(*) as jobs, array_agg(l.id order by l.n) as ids, array_agg(l.key order by l.n) as keys
      from line l where l.key is not null
    ),
    held as materialized (
      select h.job, h.holder
      from wish w cross join lateral fastq.hold_keys(
        0, w.ids, w.keys, array_fill(enqueue_many.unique_until, array[w.jobs::int]),
        array_fill(enqueue_many.queue, array[w.jobs::int]), array_fill(enqueue_many.priority::int2, array[w.jobs::int]),
        array_fill(''::text, array[w.jobs::int])) h
    )
    insert into fastq.ready (segment, slot, pos, priority, queue, task, payload, meta)
    select r.head, 0, l.id, enqueue_many.priority, enqueue_many.queue, enqueue_many.task, l.payload,
           fastq.meta_of(l.key, enqueue_many.unique_until, null)
    from line l cross join fastq.ring r left join held h on h.job = l.id
    where r.slot = 0 and (l.key is null or h.holder = l.id)
    order by l.n;
  end if;
  get diagnostics put = row_count;
  perform pg_notify('fastq', '');
  return put;
end $$;
