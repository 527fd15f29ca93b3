-- Unique jobs: at most one job holds a key. Whoever enqueues with a key that is held gets the holder's id.
-- Lock order: the job's row (or its lease) before its key; several keys in the order of their texts.

alter table fastq.unique_key
  add column queue     text collate "C" not null default 'default',
  add column priority  int2 not null default 4,
  add column group_key text collate "C" not null default '',
  add column taken_at  timestamptz not null default now();
create index unique_key_job on fastq.unique_key (slot, job);
create index unique_key_expiry on fastq.unique_key (slot, expires_at) where expires_at is not null;

-- What a job's meta says of its key: [key, until]; null without one. A header with \u0000 makes `->` fail; then the key
-- stands first, because nothing has written the meta anew.
create function fastq.unique_of(meta json) returns json language plpgsql immutable as $$
begin
  if meta is null or strpos(meta::text, '"unique"') = 0 then
    return null;
  end if;
  return meta -> 'unique';
exception when untranslatable_character or invalid_text_representation then
  return substring(meta::text from '^\s*\{\s*"unique"\s*:\s*(\["(?:[^"\\]|\\.)*",\s*(?:"[^"]*"|[0-9.]+)\])')::json;
end $$;

-- The rarer things about a job, as workers read them.
create function fastq.meta_of(key text, until text, headers json) returns json language sql stable as $$
  select case
    when key is null and headers is null then null
    when key is null then json_build_object('headers', headers)
    when headers is null then json_build_object('unique', json_build_array(key, until))
    else json_build_object('unique', json_build_array(key, until), 'headers', headers)
  end
$$;

-- Take keys for jobs: one row for each, with the job that holds its key now, which is the job itself where the key was
-- free, its time was over, or it held it before. The arrays are parallel; of equal keys the first one counts.
-- A key that an open transaction is just taking or giving back is waited for; a key that is held is not locked, so that
-- nobody who ends a job waits for a producer's transaction.
-- With the owner's rights, because producers may neither read keys nor change them.
create function fastq.hold_keys(
  slot int4, jobs int8[], keys text[], untils text[], queues text[], priorities int2[], groups text[]
) returns table (job int8, holder int8) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  moment timestamptz;
  w      record;
begin
  for w in
    with asked as materialized (
      select a.job, a.key, a.queue, a.priority, a.group_key, a.n,
             case when a.until in ('finished', 'started') then a.until else 'time' end as held_until,
             clock_timestamp() + case when a.until not in ('finished', 'started') then a.until::interval end as expires_at
      from unnest(jobs, keys, untils, queues, priorities, groups) with ordinality
           as a(job, key, until, queue, priority, group_key, n)
    ),
    put as (
      insert into fastq.unique_key (slot, key, job, held_until, expires_at, queue, priority, group_key)
      select hold_keys.slot, a.key, a.job, a.held_until, a.expires_at, a.queue, a.priority, a.group_key
      from asked a
      order by a.key collate "C", a.n
      on conflict (slot, key) do nothing
      returning job
    )
    select a.job, a.key, a.held_until, a.expires_at, a.queue, a.priority, a.group_key, p.job is not null as won
    from asked a left join put p on p.job = a.job
    order by a.key collate "C", a.n
  loop
    job := w.job;
    holder := case when w.won then w.job end;
    for turn in 1 .. 1000 loop
      exit when holder is not null;
      moment := clock_timestamp();
      update fastq.unique_key k
      set job = w.job, held_until = w.held_until, expires_at = w.expires_at, queue = w.queue, priority = w.priority,
          group_key = w.group_key, taken_at = moment
      where k.slot = hold_keys.slot and k.key = w.key and k.expires_at <= moment
      returning k.job into holder;
      exit when found;
      select k.job into holder from fastq.unique_key k
      where k.slot = hold_keys.slot and k.key = w.key and (k.expires_at is null or k.expires_at > moment);
      exit when found;
      insert into fastq.unique_key as k (slot, key, job, held_until, expires_at, queue, priority, group_key)
      values (hold_keys.slot, w.key, w.job, w.held_until, w.expires_at, w.queue, w.priority, w.group_key)
      on conflict (slot, key) do nothing
      returning k.job into holder;
    end loop;
    if holder is null then
      raise exception 'the unique key % changes hands too fast, try again', w.key using errcode = 'lock_not_available';
    end if;
    return next;
  end loop;
end $$;
revoke execute on function fastq.hold_keys(int4, int8[], text[], text[], text[], int2[], text[]) from public;

-- What is to be done when jobs have left for good: their keys are free, but those that are held for a time. A key that
-- somebody else is at is left to them.
create function fastq.ended(slot int4, jobs int8[]) returns void language plpgsql as $$
#variable_conflict use_column
begin
  if jobs is null or not exists (select from fastq.unique_key k where k.slot = ended.slot) then
    return;
  end if;
  with mine as materialized (
    select k.key, k.job from unnest(ended.jobs) as j(id) join fastq.unique_key k on k.job = j.id
    where k.slot = ended.slot and k.held_until <> 'time'
    order by k.key
    for update of k skip locked
  )
  delete from fastq.unique_key k using mine m where k.slot = ended.slot and k.key = m.key and k.job = m.job;
end $$;

-- Refuse what cannot be a key, or cannot say until when it is held.
create function fastq.check_unique(caller text, key text, until text) returns void language plpgsql as $$
begin
  if key = '' or length(key) > 255 or key ~ '[[:cntrl:]]' then
    raise exception '%: unique_key must be 1 to 255 printable characters', caller using errcode = 'invalid_parameter_value';
  end if;
  if key is not null and (until is null or (until not in ('finished', 'started') and until::interval <= interval '0')) then
    raise exception '%: unique_until must be finished, started, or a time greater than 0', caller
      using errcode = 'invalid_parameter_value';
  end if;
exception when invalid_datetime_format or datetime_field_overflow then
  raise exception '%: unique_until must be finished, started, or a time greater than 0, not %', caller, until
    using errcode = 'invalid_parameter_value';
end $$;

-- Enqueue one job from any language, inside the caller's transaction; returns its id. With a `unique_key` that another
-- job holds it returns that job's id, and nothing is enqueued. `unique_until`: finished, started, or a time like '1 hour'.
drop function fastq.enqueue(text, json, text, int, interval, timestamptz, text, json);
create function fastq.enqueue(
  task         text,
  payload      json        default '{}',
  queue        text        default 'default',
  priority     int         default 4,
  delay        interval    default null,
  run_at       timestamptz default null,
  group_key    text        default '',
  headers      json        default null,
  unique_key   text        default null,
  unique_until text        default 'finished'
) returns int8 language plpgsql as $$
#variable_conflict use_column
declare
  due    timestamptz := coalesce(enqueue.run_at, now() + enqueue.delay);
  put    int8;
  holder int8;
begin
  if json_typeof(enqueue.payload) is distinct from 'object' then
    raise exception 'fastq.enqueue: payload must be a json object of the task''s arguments, not %',
      coalesce(json_typeof(enqueue.payload), 'null') using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.enqueue', enqueue.payload::text);
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
  if due is not null and due > now() then
    insert into fastq.scheduled (slot, id, run_at, priority, queue, group_key, task, payload, meta)
    values (0, put, due, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
            fastq.meta_of(enqueue.unique_key, enqueue.unique_until, enqueue.headers));
  else
    insert into fastq.ready (segment, slot, pos, priority, queue, group_key, task, payload, meta)
    select r.head, 0, put, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
           fastq.meta_of(enqueue.unique_key, enqueue.unique_until, enqueue.headers)
    from fastq.ring r where r.slot = 0;
    perform pg_notify('fastq', '');
  end if;
  return put;
end $$;

-- Enqueue a json array of payloads for one task; returns how many. `unique_keys` has a key, or null, for each of them;
-- those whose keys are held are left out.
drop function fastq.enqueue_many(text, json, text, int);
create function fastq.enqueue_many(
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

-- Put a job that failed, was discarded or cancelled back into line, its attempts starting again; true if this call did.
-- A unique job takes its key again; it is refused while another job holds it.
create or replace function fastq.retry(job int8) returns boolean language plpgsql as $$
declare
  s      int4;
  g      record;
  uniq   json;
  holder int8;
begin
  for s in 0 .. fastq.slots() - 1 loop
    delete from fastq.finished f
    where f.slot = s and f.id = retry.job and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
    returning f.id, f.priority, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta into g;
    if found then
      delete from fastq.cancellation c where c.slot = s and c.job = g.id;
      uniq := fastq.unique_of(g.meta);
      if uniq is not null then
        select h.holder into holder
        from fastq.hold_keys(s, array[g.id], array[uniq ->> 0], array[uniq ->> 1], array[g.queue], array[g.priority],
                             array[g.group_key]) h;
        if holder <> g.id then
          raise exception 'job % cannot be retried: its unique key % is held by job %', g.id, uniq ->> 0, holder
            using errcode = 'unique_violation';
        end if;
      end if;
      insert into fastq.ready (segment, slot, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
      values (coalesce((select n.head from fastq.ring n where n.slot = s), 0), s, g.priority, 0, g.id, g.enqueued_ms,
              g.queue, g.group_key, g.task, g.payload, fastq.without_crashes(g.meta));
      perform pg_notify('fastq', '');
      return true;
    end if;
  end loop;
  return false;
end $$;

-- Retry all kept jobs that fit, at most `most`, those that finished first; returns how many. What somebody else is
-- working on is left out, and so are unique jobs whose key another job holds.
create or replace function fastq.retry_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  put   int8;
  total int8 := 0;
begin
  for s in 0 .. fastq.slots() - 1 loop
    with pick as materialized (
      select f.id, f.finished_at, f.queue, f.priority, f.group_key, fastq.unique_of(f.meta) as uniq
      from fastq.finished f
      where f.slot = s and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
        and (retry_jobs.states is null or f.state = any (retry_jobs.states))
        and (retry_jobs.queue is null or f.queue = retry_jobs.queue)
        and (retry_jobs.task is null or f.task = retry_jobs.task)
        and (retry_jobs.error is null or fastq.has_error(f.meta, retry_jobs.error))
      order by f.finished_at
      limit retry_jobs.most - total
      for update skip locked
    ), wish as materialized (
      select array_agg(p.id) as ids, array_agg(p.uniq ->> 0) as keys, array_agg(p.uniq ->> 1) as untils,
             array_agg(p.queue) as queues, array_agg(p.priority) as priorities, array_agg(p.group_key) as groups
      from (select p.id, p.uniq, p.queue, p.priority, p.group_key from pick p where p.uniq is not null
            order by p.finished_at, p.id) p
    ), held as materialized (
      select h.job, h.holder
      from wish w cross join lateral fastq.hold_keys(s, w.ids, w.keys, w.untils, w.queues, w.priorities, w.groups) h
      where w.ids is not null
    ), gone as (
      delete from fastq.finished f using pick p left join held h on h.job = p.id
      where f.slot = s and f.id = p.id and (p.uniq is null or h.holder = p.id)
      returning f.id, f.priority, f.finished_at, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta
    ), unmarked as (
      delete from fastq.cancellation c using gone g where c.slot = s and c.job = g.id
    ), back as (
      insert into fastq.ready (segment, slot, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
      select coalesce((select n.head from fastq.ring n where n.slot = s), 0), s, g.priority, 0, g.id, g.enqueued_ms, g.queue,
             g.group_key, g.task, g.payload, fastq.without_crashes(g.meta)
      from gone g
      order by g.finished_at, g.id
      returning 1
    )
    select count(*) into put from back;
    total := total + put;
  end loop;
  if total > 0 then
    perform pg_notify('fastq', '');
  end if;
  return total;
end $$;

-- Cancel a job. One that waits is kept as cancelled at once: 'cancelled', also when it was before. One that runs is
-- marked for its worker: 'cancelling'. Null: it ended otherwise, or is gone.
create or replace function fastq.cancel(job int8) returns text language plpgsql as $$
#variable_conflict use_column
declare
  f     record;
  moved int8;
begin
  for turn in 1 .. 1000 loop
    select w.slot, w.state, w.segment, w.pos, w.lease, w.ord, w.queue, w.priority, w.group_key into f
    from fastq.find(cancel.job) w;
    if not found then
      return null;
    end if;
    case f.state
    when 'cancelled' then
      return 'cancelled';
    when 'succeeded', 'failed', 'discarded' then
      return null;
    when 'running' then
      insert into fastq.cancellation as c (slot, job, lease, ord) values (f.slot, cancel.job, f.lease, f.ord)
      on conflict (slot, job) do update set lease = excluded.lease, ord = excluded.ord;
      return 'cancelling';
    when 'ready' then
      -- A claim that holds the row is waited for; if it commits nothing is left here, and the job is looked for again.
      with gone as (
        delete from fastq.ready r
        where r.segment = f.segment and r.slot = f.slot and r.queue = f.queue and r.priority = f.priority
          and r.group_key = f.group_key and r.pos = f.pos
        returning r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key, r.task, r.payload, r.meta
      ), kept as (
        insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.slot, cancel.job, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task,
               g.payload, g.meta
        from gone g
        returning 1
      )
      select count(*) into moved from kept;
    else
      with gone as (
        delete from fastq.scheduled w where w.slot = f.slot and w.id = cancel.job
        returning w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta
      ), kept as (
        insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.slot, cancel.job, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task,
               g.payload, g.meta
        from gone g
        returning 1
      )
      select count(*) into moved from kept;
    end case;
    if moved > 0 then
      perform fastq.ended(f.slot, array[cancel.job]);
      return 'cancelled';
    end if;
  end loop;
  raise exception 'fastq.cancel: job % moves too fast, try again', cancel.job using errcode = 'lock_not_available';
end $$;

-- Cancel all jobs that fit, at most `most`: those that wait at once, those that run by a mark. What a claim holds at this
-- moment is left out.
create or replace function fastq.cancel_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null, out cancelled int8, out cancelling int8
) language plpgsql as $$
#variable_conflict use_column
declare
  s   int4;
  put int8;
  ids int8[];
begin
  cancelled := 0;
  cancelling := 0;
  for s in 0 .. fastq.slots() - 1 loop
    if cancel_jobs.states is null or 'ready' = any (cancel_jobs.states) then
      with pick as materialized (
        select r.segment, r.queue, r.priority, r.group_key, r.pos from fastq.ready r
        where r.slot = s and (cancel_jobs.queue is null or r.queue = cancel_jobs.queue)
          and (cancel_jobs.task is null or r.task = cancel_jobs.task)
          and (cancel_jobs.error is null or fastq.has_error(r.meta, cancel_jobs.error))
        limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
        for update skip locked
      ), gone as (
        delete from fastq.ready r using pick p
        where r.segment = p.segment and r.slot = s and r.queue = p.queue and r.priority = p.priority
          and r.group_key = p.group_key and r.pos = p.pos
        returning coalesce(r.id, r.pos) as id, r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key, r.task, r.payload,
                  r.meta
      ), kept as (
        insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select s, g.id, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
        from gone g
        returning id
      )
      select count(*), array_agg(k.id) into put, ids from kept k;
      perform fastq.ended(s, ids);
      cancelled := cancelled + put;
    end if;
    with pick as materialized (
      select w.id from fastq.scheduled w
      where w.slot = s and (cancel_jobs.states is null or w.reason = any (cancel_jobs.states))
        and (cancel_jobs.queue is null or w.queue = cancel_jobs.queue)
        and (cancel_jobs.task is null or w.task = cancel_jobs.task)
        and (cancel_jobs.error is null or fastq.has_error(w.meta, cancel_jobs.error))
      limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
      for update skip locked
    ), gone as (
      delete from fastq.scheduled w using pick p where w.slot = s and w.id = p.id
      returning w.id, w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta
    ), kept as (
      insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
      select s, g.id, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
      from gone g
      returning id
    )
    select count(*), array_agg(k.id) into put, ids from kept k;
    perform fastq.ended(s, ids);
    cancelled := cancelled + put;
    if cancel_jobs.states is null or 'running' = any (cancel_jobs.states) then
      insert into fastq.cancellation as c (slot, job, lease, ord)
      select s, j.id, l.id, j.ord
      from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done) j
      where l.slot = s and (cancel_jobs.queue is null or l.queue = cancel_jobs.queue)
        and (cancel_jobs.task is null or j.task = cancel_jobs.task)
        and (cancel_jobs.error is null or fastq.has_error(j.meta, cancel_jobs.error))
      limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
      on conflict (slot, job) do update set lease = excluded.lease, ord = excluded.ord;
      get diagnostics put = row_count;
      cancelling := cancelling + put;
    end if;
  end loop;
end $$;

-- Delete a job that waits or is kept; returns the state it was in. 'running': it runs, nothing was done. Null: it is gone.
create or replace function fastq.delete(job int8) returns text language plpgsql as $$
declare
  f     record;
  moved int8;
begin
  for turn in 1 .. 1000 loop
    select w.slot, w.state, w.segment, w.pos, w.queue, w.priority, w.group_key into f from fastq.find(delete.job) w;
    if not found or f.state = 'running' then
      return f.state;
    elsif f.state = 'ready' then
      delete from fastq.ready r
      where r.segment = f.segment and r.slot = f.slot and r.queue = f.queue and r.priority = f.priority
        and r.group_key = f.group_key and r.pos = f.pos;
    elsif f.state in ('scheduled', 'retrying', 'reserved') then
      delete from fastq.scheduled w where w.slot = f.slot and w.id = delete.job;
    else
      delete from fastq.finished d where d.slot = f.slot and d.id = delete.job;
    end if;
    get diagnostics moved = row_count;
    if moved > 0 then
      perform fastq.ended(f.slot, array[delete.job]);
      return f.state;
    end if;
  end loop;
  raise exception 'fastq.delete: job % moves too fast, try again', delete.job using errcode = 'lock_not_available';
end $$;

-- Delete all jobs that fit, at most `most`, but none that runs; returns how many. What a claim holds at this moment is
-- left out.
create or replace function fastq.delete_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  cut   int8;
  ids   int8[];
  total int8 := 0;
begin
  for s in 0 .. fastq.slots() - 1 loop
    if delete_jobs.states is null or 'ready' = any (delete_jobs.states) then
      with pick as materialized (
        select r.segment, r.queue, r.priority, r.group_key, r.pos from fastq.ready r
        where r.slot = s and (delete_jobs.queue is null or r.queue = delete_jobs.queue)
          and (delete_jobs.task is null or r.task = delete_jobs.task)
          and (delete_jobs.error is null or fastq.has_error(r.meta, delete_jobs.error))
        limit delete_jobs.most - total
        for update skip locked
      ), gone as (
        delete from fastq.ready r using pick p
        where r.segment = p.segment and r.slot = s and r.queue = p.queue and r.priority = p.priority
          and r.group_key = p.group_key and r.pos = p.pos
        returning coalesce(r.id, r.pos) as id
      )
      select count(*), array_agg(g.id) into cut, ids from gone g;
      perform fastq.ended(s, ids);
      total := total + cut;
    end if;
    with pick as materialized (
      select w.id from fastq.scheduled w
      where w.slot = s and (delete_jobs.states is null or w.reason = any (delete_jobs.states))
        and (delete_jobs.queue is null or w.queue = delete_jobs.queue)
        and (delete_jobs.task is null or w.task = delete_jobs.task)
        and (delete_jobs.error is null or fastq.has_error(w.meta, delete_jobs.error))
      limit delete_jobs.most - total
      for update skip locked
    ), gone as (
      delete from fastq.scheduled w using pick p where w.slot = s and w.id = p.id
      returning w.id
    )
    select count(*), array_agg(g.id) into cut, ids from gone g;
    perform fastq.ended(s, ids);
    total := total + cut;
    with pick as materialized (
      select f.id from fastq.finished f
      where f.slot = s and (delete_jobs.states is null or f.state = any (delete_jobs.states))
        and (delete_jobs.queue is null or f.queue = delete_jobs.queue)
        and (delete_jobs.task is null or f.task = delete_jobs.task)
        and (delete_jobs.error is null or fastq.has_error(f.meta, delete_jobs.error))
      limit delete_jobs.most - total
      for update skip locked
    )
    delete from fastq.finished f using pick p where f.slot = s and f.id = p.id;
    get diagnostics cut = row_count;
    total := total + cut;
  end loop;
  return total;
end $$;

-- Every job that exists, one row each, with the unique key that it holds or held.
create or replace view fastq.job as
  select slot, coalesce(id, pos) as id, 'ready' as state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms) as enqueued_at, null::timestamptz as run_at, null::timestamptz as claimed_at,
         null::timestamptz as finished_at, null::int8 as worker, payload, null::json as result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end as unique_key
  from fastq.ready
  union all
  select l.slot, j.id, 'running', l.queue, l.priority, l.group_key, j.task, j.attempt,
         fastq.at_ms(j.enqueued_ms), null, l.claimed_at, null, l.worker, j.payload, null, j.meta,
         case when j.meta is not null then fastq.unique_of(j.meta) ->> 0 end
  from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done) j
  union all
  select slot, id, reason, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, payload, null, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end
  from fastq.scheduled
  union all
  select slot, id, state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), null, null, finished_at, null, payload, result, meta,
         case when meta is not null then fastq.unique_of(meta) ->> 0 end
  from fastq.finished;

-- Two-phase enqueue: a reserved job stands in scheduled and is promoted by nobody. fastq.commit puts it into line, where it
-- has the place of its reservation; when its time is over it is deleted.

-- What a reserved job waits for once it is committed.
alter table fastq.scheduled
  add column commit_delay interval,
  add column commit_at    timestamptz;
create index scheduled_reserved on fastq.scheduled (slot, run_at) where reason = 'reserved';

-- Which reservations were committed in the last days, so that a commit can be repeated whose answer was lost.
create table fastq.committed (
  slot         int4 not null,
  id           int8 not null,
  committed_at timestamptz not null default now(),
  primary key (slot, id)
);
create index committed_age on fastq.committed (slot, committed_at);

-- Reserve a job for so many seconds; says which job holds its unique key, if it has one, and whether that is another one:
-- then nothing was reserved. `patience` bounds how long another's open transaction is waited for.
create function fastq.reserve_job(
  slot int4, expires_s float8, delay_s float8, run_at timestamptz, queue text, priority int2, group_key text, task text,
  payload json, meta json, key text, until text, patience text default null
) returns table (job int8, duplicate boolean) language plpgsql as $$
#variable_conflict use_column
begin
  if patience is not null then
    perform set_config('lock_timeout', patience, true);
  end if;
  job := nextval('fastq.pos');
  duplicate := false;
  if reserve_job.key is not null then
    select h.holder, h.holder <> h.job into job, duplicate
    from fastq.hold_keys(reserve_job.slot, array[job], array[reserve_job.key], array[reserve_job.until],
                         array[reserve_job.queue], array[reserve_job.priority], array[reserve_job.group_key]) h;
  end if;
  if not duplicate then
    insert into fastq.scheduled (slot, id, run_at, reason, commit_delay, commit_at, queue, priority, group_key, task, payload, meta)
    values (reserve_job.slot, job, clock_timestamp() + reserve_job.expires_s * interval '1 second', 'reserved',
            reserve_job.delay_s * interval '1 second', reserve_job.run_at, reserve_job.queue, reserve_job.priority,
            reserve_job.group_key, reserve_job.task, reserve_job.payload, reserve_job.meta);
  end if;
  return next;
end $$;

-- Reserve a job from any language, inside the caller's transaction; returns its id, for fastq.commit. With a `unique_key` that
-- another job holds it returns that job's id, and nothing is reserved. `delay` counts from the commit.
create function fastq.reserve(
  task         text,
  payload      json        default '{}',
  expires      interval    default interval '1 minute',
  queue        text        default 'default',
  priority     int         default 4,
  delay        interval    default null,
  run_at       timestamptz default null,
  group_key    text        default '',
  headers      json        default null,
  unique_key   text        default null,
  unique_until text        default 'finished'
) returns int8 language plpgsql as $$
begin
  if json_typeof(reserve.payload) is distinct from 'object' then
    raise exception 'fastq.reserve: payload must be a json object of the task''s arguments, not %',
      coalesce(json_typeof(reserve.payload), 'null') using errcode = 'invalid_parameter_value';
  end if;
  if reserve.expires is null or reserve.expires <= interval '0' then
    raise exception 'fastq.reserve: expires must be a time greater than 0' using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.reserve', reserve.payload::text);
  perform fastq.check_unique('fastq.reserve', reserve.unique_key, reserve.unique_until);
  return (
    select r.job
    from fastq.reserve_job(
      0, extract(epoch from reserve.expires)::float8, extract(epoch from reserve.delay)::float8, reserve.run_at, reserve.queue,
      reserve.priority::int2, reserve.group_key, reserve.task, reserve.payload,
      fastq.meta_of(reserve.unique_key, reserve.unique_until, reserve.headers), reserve.unique_key, reserve.unique_until) r);
end $$;

-- Put a reserved job into line, or let it wait for its own time: 'committed', 'before' when that was done before, or 'gone'
-- when its time is over, or it was abandoned or deleted.
-- With the owner's rights, because producers may not take rows away; it touches reserved jobs only.
create function fastq.commit_reserved(job int8) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment constant timestamptz := clock_timestamp();
  s      int4;
  g      record;
  due    timestamptz;
begin
  for s in 0 .. fastq.slots() - 1 loop
    -- Who expires or commits it at this moment is waited for; then it is gone.
    delete from fastq.scheduled w
    where w.slot = s and w.id = commit_reserved.job and w.reason = 'reserved' and w.run_at > moment
    returning w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta, w.commit_delay, w.commit_at
    into g;
    if found then
      insert into fastq.committed (slot, id) values (s, commit_reserved.job);
      due := coalesce(g.commit_at, moment + g.commit_delay);
      if due > moment then
        insert into fastq.scheduled (slot, id, run_at, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        values (s, commit_reserved.job, due, g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta);
      else
        insert into fastq.ready (segment, slot, pos, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        values (coalesce((select n.head from fastq.ring n where n.slot = s), 0), s, commit_reserved.job, g.priority, g.attempt,
                g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta);
        perform pg_notify('fastq', '');
      end if;
      return 'committed';
    end if;
    if exists (select from fastq.committed c where c.slot = s and c.id = commit_reserved.job) then
      return 'before';
    end if;
  end loop;
  return 'gone';
end $$;

-- Put a reserved job into line; false when it was committed before. An error says that it is gone.
create function fastq.commit(job int8) returns boolean language plpgsql as $$
declare
  answer text := fastq.commit_reserved(commit.job);
begin
  if answer = 'gone' then
    raise exception 'fastq.commit: reservation % is gone: it expired, or was abandoned or deleted; its job is not enqueued',
      commit.job using errcode = 'no_data_found';
  end if;
  return answer = 'committed';
end $$;

-- Delete a reserved job, and free its key; false when there is no such reservation (any more).
create function fastq.abandon(job int8) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  s int4;
begin
  for s in 0 .. fastq.slots() - 1 loop
    delete from fastq.scheduled w where w.slot = s and w.id = abandon.job and w.reason = 'reserved';
    if found then
      with mine as materialized (
        select k.key from fastq.unique_key k where k.slot = s and k.job = abandon.job for update skip locked
      )
      delete from fastq.unique_key k using mine m where k.slot = s and k.key = m.key;
      return true;
    end if;
  end loop;
  return false;
end $$;
revoke execute on function fastq.commit_reserved(int8) from public;
revoke execute on function fastq.abandon(int8) from public;
