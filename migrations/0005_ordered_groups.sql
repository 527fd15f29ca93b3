-- Groups: a claim may take from many of them at once, so a packed job may carry its own group behind its meta.

-- As fastq.unpack, with each job's group: its own, or the lease's where the whole batch is of one.
create function fastq.unpack(batch bytea, done int2[], lease_group text)
returns table (ord int2, pos int8, id int8, task text, attempt int2, enqueued_ms int8, payload json, meta json, group_key text)
language sql stable as $$
  -- Only json_array_elements is used on payloads: every other accessor refuses \u0000 and lone surrogates in them.
  select (j.n - 1)::int2, j.f[1]::int8, coalesce(nullif(j.f[6], 'null')::int8, j.f[1]::int8), j.f[2]::json #>> '{}',
         j.f[3]::int2, j.f[4]::int8, j.f[5]::json, nullif(j.f[7], 'null')::json, coalesce(j.f[8]::json #>> '{}', lease_group)
  from (
    select e.n, (select array_agg(x.v::text order by x.k) from json_array_elements(e.job) with ordinality as x(v, k)) as f
    from json_array_elements(convert_from(batch, 'UTF8')::json) with ordinality as e(job, n)
    where (e.n - 1)::int2 <> all (done)
  ) j
$$;

-- Ordered groups: of each line, the jobs of one queue and group in the order of their ids, one job at a time is anywhere
-- else, its head. The rules:
-- 1. A job in fastq.line has a row in fastq.head for its queue and group.
-- 2. The job that a head names is the only ordered one of its line that is ready, scheduled or claimed; or it failed for
--    good and blocks the line, or it is reserved and not yet committed. Null: the head ended while a producer was about to join the line; the leader goes on.
-- 3. Who ends the head brings the next one up, in the same transaction. A line that has run empty has no row at all.
-- Locks: a producer holds the head's row key share until its commit. Who brings the next one up holds it no key update,
-- which goes together; only to delete the row must the producers be gone, and nobody waits for them.
create table fastq.line (
  slot        int4 not null,
  pos         int8 not null,
  run_at      timestamptz,
  priority    int2 not null default 4 check (priority between 0 and 9),
  enqueued_ms int8 not null default (extract(epoch from now()) * 1000)::int8,
  queue       text collate "C" not null,
  group_key   text collate "C" not null,
  task        text collate "C" not null,
  payload     json not null default '{}',
  meta        json,
  reserved    boolean not null default false,  -- holds the place of a job that stands in scheduled until it is committed
  primary key (slot, queue, group_key, pos)
);
create index line_job on fastq.line (slot, pos);

create table fastq.head (
  slot      int4 not null,
  queue     text collate "C" not null,
  group_key text collate "C" not null,
  job       int8,
  since     timestamptz not null default now(),
  primary key (slot, queue, group_key)
) with (fillfactor = 70);
create index head_job on fastq.head (slot, job);

-- Whether a job is ordered, and what its line does when it fails for good: skip or block; null where it is not.
create function fastq.ordered_of(meta json) returns text language plpgsql immutable as $$
begin
  if meta is null or strpos(meta::text, '"ordered"') = 0 then
    return null;
  end if;
  return meta ->> 'ordered';
exception when untranslatable_character or invalid_text_representation then  -- a header with \u0000
  return substring(meta::text from '"ordered"\s*:\s*"(skip|block)"');
end $$;

-- Bring the first job of a line up, or give the line up when it is empty; true if a job came. The caller holds the head's
-- row, whose job has ended. What cannot be decided without waiting is left to the leader.
create function fastq.bring_up(s int4, q text, g text) returns boolean language plpgsql as $$
declare
  next  int8;
  moved int8 := 0;
begin
  select l.pos into next from fastq.line l where l.slot = s and l.queue = q and l.group_key = g order by l.pos limit 1;
  if next is null and current_setting('transaction_isolation') = 'read committed' then
    perform from fastq.head h where h.slot = s and h.queue = q and h.group_key = g for update skip locked;
    if found then  -- no producer is at it; whoever was has committed, and is seen by this:
      select l.pos into next from fastq.line l where l.slot = s and l.queue = q and l.group_key = g order by l.pos limit 1;
      if next is null then
        delete from fastq.head h where h.slot = s and h.queue = q and h.group_key = g;
        return false;
      end if;
    end if;
  end if;
  if next is not null then
    with pick as materialized (
      select l.pos from fastq.line l
      where l.slot = s and l.queue = q and l.group_key = g and l.pos = next
      for update skip locked  -- one that is being cancelled keeps its successors waiting: it may yet stay
    ), gone as (
      delete from fastq.line l using pick p where l.slot = s and l.queue = q and l.group_key = g and l.pos = p.pos
      returning l.pos, l.run_at, l.priority, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta, l.reserved
    ), to_ready as (
      insert into fastq.ready (segment, slot, priority, id, enqueued_ms, queue, group_key, task, payload, meta)
      select coalesce((select r.head from fastq.ring r where r.slot = s), 0), s, g.priority, g.pos, g.enqueued_ms, g.queue,
             g.group_key, g.task, g.payload, g.meta
      from gone g
      where not g.reserved and (g.run_at is null or g.run_at <= now())
    ), to_scheduled as (
      insert into fastq.scheduled (slot, id, run_at, priority, enqueued_ms, queue, group_key, task, payload, meta)
      select s, g.pos, g.run_at, g.priority, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
      from gone g
      where not g.reserved and g.run_at > now()
    )
    select count(*) into moved from gone;
  end if;
  update fastq.head h set job = case when moved > 0 then next end, since = now()
  where h.slot = s and h.queue = q and h.group_key = g;
  if moved > 0 then
    perform pg_notify('fastq', '');
  end if;
  return moved > 0;
end $$;

-- Begin the lines that have no head; of the others hold the heads until the transaction ends, so that they are not given
-- up. The transaction has put jobs into these lines before. Lines are taken in their order, whatever the arrays'.
-- Who begins a line that another open transaction is just beginning waits for that one.
-- With the owner's rights, because producers may neither read heads nor lock them.
create function fastq.begin_lines(slot int4, queues text[], groups text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  w record;
begin
  for w in
    select distinct j.queue collate "C" as queue, j.group_key collate "C" as group_key
    from unnest(queues, groups) as j(queue, group_key)
    order by 1, 2
  loop
    loop  -- again when the line was given up between the two
      perform from fastq.head h
      where h.slot = begin_lines.slot and h.queue = w.queue and h.group_key = w.group_key for key share;
      exit when found;
      insert into fastq.head (slot, queue, group_key) values (begin_lines.slot, w.queue, w.group_key)
      on conflict (slot, queue, group_key) do nothing;
      if found then
        perform fastq.bring_up(begin_lines.slot, w.queue, w.group_key);
        exit;
      end if;
    end loop;
  end loop;
end $$;
revoke execute on function fastq.begin_lines(int4, text[], text[]) from public;

-- Let a line go on whose head has ended; false when the job is no head.
create function fastq.advance(s int4, ended int8) returns boolean language plpgsql as $$
declare
  l record;
begin
  select h.queue, h.group_key into l from fastq.head h where h.slot = s and h.job = ended for no key update;
  if not found then
    return false;
  end if;
  perform fastq.bring_up(s, l.queue, l.group_key);
  return true;
end $$;

-- Take jobs out of their lines that have ended, or will never be: the lines whose heads they were go on, and the places that
-- they held as reserved ones are given up.
create function fastq.leave_lines(s int4, jobs int8[]) returns void language plpgsql as $$
begin
  delete from fastq.line l where l.slot = s and l.pos = any (jobs) and l.reserved;
  perform fastq.advance(s, h.job)
  from (select h.job from fastq.head h where h.slot = s and h.job = any (jobs) order by h.queue, h.group_key) h;
end $$;

-- Let lines go on whose head ended while a producer was at them; returns how many did. Any number may run it at a time.
create function fastq.advance_idle(s int4, most int) returns int language plpgsql as $$
declare
  l    record;
  done int := 0;
begin
  for l in
    select h.queue, h.group_key from fastq.head h where h.slot = s and h.job is null
    order by h.since
    limit most
    for no key update skip locked
  loop
    done := done + fastq.bring_up(s, l.queue, l.group_key)::int;
  end loop;
  return done;
end $$;

-- The net under all this, for what somebody deleted by hand or a kept job that blocked its line and was pruned: let lines
-- go on that have no head, or whose head has named a job for a minute that is nowhere. Looks at `most` lines from a group
-- on; returns how many were mended and the next place to look from, null at the end.
create function fastq.mend_lines(
  s int4, from_queue text, from_group text, most int, out mended int, out next_queue text, out next_group text
) language plpgsql as $$
declare
  put int;
begin
  insert into fastq.head (slot, queue, group_key)
  select s, l.queue, l.group_key
  from (
    with recursive walk as (
      (select l.queue, l.group_key from fastq.line l
       where l.slot = s and (l.queue, l.group_key) > (from_queue, from_group)
       order by l.queue, l.group_key limit 1)
      union all
      select n.queue, n.group_key from walk w cross join lateral (
        select l.queue, l.group_key from fastq.line l where l.slot = s and (l.queue, l.group_key) > (w.queue, w.group_key)
        order by l.queue, l.group_key limit 1) n
    )
    select w.queue, w.group_key from walk w limit most
  ) l
  where not exists (select from fastq.head h where h.slot = s and h.queue = l.queue and h.group_key = l.group_key)
  on conflict (slot, queue, group_key) do nothing;
  get diagnostics mended = row_count;
  with seen as materialized (
    select h.queue, h.group_key, h.job, h.since from fastq.head h
    where h.slot = s and (h.queue, h.group_key) > (from_queue, from_group)
    order by h.queue, h.group_key
    limit most
  ), dead as materialized (
    select h.queue, h.group_key from fastq.head h join seen n on n.queue = h.queue and n.group_key = h.group_key
    where h.slot = s and h.job = n.job and n.since < now() - interval '1 minute'
      and not exists (select from fastq.scheduled w where w.slot = s and w.id = n.job)
      and not exists (select from fastq.ready r where r.slot = s and r.id = n.job)
      and not exists (select from fastq.ready r cross join generate_series(0, 9) as p(priority)
                      where r.slot = s and r.queue = n.queue and r.priority = p.priority and r.group_key = n.group_key
                        and r.pos = n.job)
      and not exists (select from fastq.finished f
                      where f.slot = s and f.id = n.job and f.state = 'failed' and fastq.ordered_of(f.meta) = 'block')
      and not exists (select from fastq.lease l where l.slot = s and position(convert_to(n.job::text, 'UTF8') in l.batch) > 0)
    for no key update of h skip locked
  ), freed as (
    update fastq.head h set job = null from dead d
    where h.slot = s and h.queue = d.queue and h.group_key = d.group_key
    returning 1
  )
  select (select count(*) from freed), n.queue, n.group_key into put, next_queue, next_group
  from (select count(*) as seen from seen) c
  left join (select n.queue, n.group_key from seen n order by n.queue desc, n.group_key desc limit 1) n on c.seen >= most;
  mended := mended + put;
end $$;

-- What is to be done when jobs have left for good: their keys are free, but those that are held for a time; the lines whose
-- heads they were go on. A key that somebody else is at is left to them.
create or replace function fastq.ended(slot int4, jobs int8[]) returns void language plpgsql as $$
#variable_conflict use_column
begin
  if jobs is null then
    return;
  end if;
  if exists (select from fastq.head h where h.slot = ended.slot) then
    perform fastq.leave_lines(ended.slot, ended.jobs);
  end if;
  if not exists (select from fastq.unique_key k where k.slot = ended.slot) then
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

-- Find a job by its id, as before; also in lines, and with its own group where it runs.
create or replace function fastq.find(job int8)
returns table (
  slot int4, id int8, state text, segment int2, pos int8, lease int8, ord int2, queue text, priority int2,
  group_key text, task text, attempt int2, enqueued_ms int8, run_at timestamptz, claimed_at timestamptz,
  finished_at timestamptz, expires_at timestamptz, worker int8, payload json, result json, meta json
) language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  s           int4;
  most        constant int := 2000;
  queues      text[];
  priorities  int2[];
  groups      text[];
  hit         record;
begin
  for s in 0 .. fastq.slots() - 1 loop
    return query
      select w.slot, w.id, w.reason, null::int2, null::int8, null::int8, null::int2, w.queue, w.priority, w.group_key,
             w.task, w.attempt, w.enqueued_ms, w.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, w.payload, null::json, w.meta
      from fastq.scheduled w where w.slot = s and w.id = find.job;
    if found then return; end if;
    return query
      select l.slot, l.pos, 'waiting', null::int2, null::int8, null::int8, null::int2, l.queue, l.priority, l.group_key,
             l.task, 0::int2, l.enqueued_ms, l.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, l.payload, null::json, l.meta
      from fastq.line l where l.slot = s and l.pos = find.job and not l.reserved;
    if found then return; end if;
    return query
      select f.slot, f.id, f.state, null::int2, null::int8, null::int8, null::int2, f.queue, f.priority, f.group_key,
             f.task, f.attempt, f.enqueued_ms, null::timestamptz, null::timestamptz, f.finished_at, f.expires_at,
             null::int8, f.payload, f.result, f.meta
      from fastq.finished f where f.slot = s and f.id = find.job;
    if found then return; end if;

    select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
    from fastq.ready r where r.slot = s and r.id = find.job;
    if not found then
      with recursive lane as (
        (select r.queue, r.priority, r.group_key from fastq.ready r where r.slot = s
         order by r.queue, r.priority, r.group_key limit 1)
        union all
        select n.queue, n.priority, n.group_key from lane l cross join lateral (
          select r.queue, r.priority, r.group_key from fastq.ready r
          where r.slot = s and (r.queue, r.priority, r.group_key) > (l.queue, l.priority, l.group_key)
          order by r.queue, r.priority, r.group_key limit 1) n
      )
      select array_agg(l.queue), array_agg(l.priority), array_agg(l.group_key) into queues, priorities, groups
      from (select l.queue, l.priority, l.group_key from lane l limit most) l;
      select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
      from unnest(queues, priorities, groups) as l(queue, priority, group_key) cross join lateral (
        select r.segment, r.queue, r.priority, r.group_key, r.pos from fastq.ready r
        where r.slot = s and r.queue = l.queue and r.priority = l.priority and r.group_key = l.group_key
          and r.pos = find.job and r.id is null
        offset 0) r
      limit 1;
    end if;
    if not found then
      return query
        select l.slot, j.id, 'running', null::int2, null::int8, l.id, j.ord, l.queue, l.priority, j.group_key, j.task,
               j.attempt, j.enqueued_ms, null::timestamptz, l.claimed_at, null::timestamptz, null::timestamptz, l.worker,
               j.payload, null::json, j.meta
        from (select h.slot, h.id, h.worker, h.queue, h.priority, h.group_key, h.claimed_at, h.batch, h.done
              from fastq.lease h
              where h.slot = s and position(convert_to(find.job::text, 'UTF8') in h.batch) > 0
              offset 0) l
        cross join lateral fastq.unpack(l.batch, l.done, l.group_key) j
        where j.id = find.job
        limit 1;
      if found then return; end if;
      if cardinality(queues) = most then
        select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
        from fastq.ready r where r.slot = s and r.pos = find.job and r.id is null;
      end if;
    end if;
    if hit.pos is not null then
      return query
        select r.slot, coalesce(r.id, r.pos), 'ready', r.segment, r.pos, null::int8, null::int2, r.queue, r.priority,
               r.group_key, r.task, r.attempt, r.enqueued_ms, null::timestamptz, null::timestamptz, null::timestamptz,
               null::timestamptz, null::int8, r.payload, null::json, r.meta
        from fastq.ready r
        where r.segment = hit.segment and r.slot = s and r.queue = hit.queue and r.priority = hit.priority
          and r.group_key = hit.group_key and r.pos = hit.pos;
      return;
    end if;
  end loop;
end $$;

-- The meta of an ordered job.
create function fastq.meta_ordered(meta json, on_dead text) returns json language sql immutable as $$
  select (case when meta is null then '{' else rtrim(left(rtrim(meta::text), -1)) || ',' end || '"ordered":"' || on_dead || '"}')::json
$$;

-- Enqueue one job from any language, inside the caller's transaction; returns its id. With a `unique_key` that another
-- job holds it returns that job's id, and nothing is enqueued. `unique_until`: finished, started, or a time like '1 hour'.
-- `ordered`: after the jobs of its queue and group_key that were enqueued before it. `on_dead`: what those behind it do
-- when it has failed for good, skip it or wait (block) until it is retried or deleted.
drop function fastq.enqueue(text, json, text, int, interval, timestamptz, text, json, text, text);
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

-- Put a job that failed, was discarded or cancelled back into line, its attempts starting again; true if this call did.
-- A unique job takes its key again; it is refused while another job holds it. An ordered job goes where its id stands in
-- its line: first, unless others that were skipped before it were retried too.
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
      if fastq.ordered_of(g.meta) is not null
        and not exists (select from fastq.head h where h.slot = s and h.job = g.id) then  -- else it still blocks its line
        insert into fastq.line (slot, pos, priority, enqueued_ms, queue, group_key, task, payload, meta)
        values (s, g.id, g.priority, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, fastq.without_crashes(g.meta));
        perform fastq.begin_lines(s, array[g.queue], array[g.group_key]);
        return true;
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
-- working on is left out, and so are unique jobs whose key another job holds. Ordered jobs go one by one.
create or replace function fastq.retry_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  put   int8;
  total int8 := 0;
  job   int8;
begin
  for s in 0 .. fastq.slots() - 1 loop
    with pick as materialized (
      select f.id, f.finished_at, f.queue, f.priority, f.group_key, fastq.unique_of(f.meta) as uniq
      from fastq.finished f
      where f.slot = s and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
        and fastq.ordered_of(f.meta) is null
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
    for job in
      select f.id from fastq.finished f
      where f.slot = s and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
        and fastq.ordered_of(f.meta) is not null
        and (retry_jobs.states is null or f.state = any (retry_jobs.states))
        and (retry_jobs.queue is null or f.queue = retry_jobs.queue)
        and (retry_jobs.task is null or f.task = retry_jobs.task)
        and (retry_jobs.error is null or fastq.has_error(f.meta, retry_jobs.error))
      order by f.id
      limit retry_jobs.most - total
      for update skip locked
    loop
      begin
        total := total + fastq.retry(job)::int;
      exception when unique_violation then  -- another job holds its unique key
        null;
      end;
    end loop;
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
    when 'waiting' then
      with gone as (
        delete from fastq.line l
        where l.slot = f.slot and l.queue = f.queue and l.group_key = f.group_key and l.pos = cancel.job and not l.reserved
        returning l.priority, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta
      ), kept as (
        insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.slot, cancel.job, 'cancelled', g.priority, 0, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload,
               g.meta
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
    if cancel_jobs.states is null or 'waiting' = any (cancel_jobs.states) then  -- before their heads: none comes up
      with pick as materialized (
        select l.queue, l.group_key, l.pos from fastq.line l
        where l.slot = s and not l.reserved and (cancel_jobs.queue is null or l.queue = cancel_jobs.queue)
          and (cancel_jobs.task is null or l.task = cancel_jobs.task)
          and (cancel_jobs.error is null or fastq.has_error(l.meta, cancel_jobs.error))
        limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
        for update skip locked
      ), gone as (
        delete from fastq.line l using pick p
        where l.slot = s and l.queue = p.queue and l.group_key = p.group_key and l.pos = p.pos
        returning l.pos, l.priority, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta
      ), kept as (
        insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select s, g.pos, 'cancelled', g.priority, 0, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
        from gone g
        returning id
      )
      select count(*), array_agg(k.id) into put, ids from kept k;
      perform fastq.ended(s, ids);
      cancelled := cancelled + put;
    end if;
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
    elsif f.state = 'waiting' then
      delete from fastq.line l
      where l.slot = f.slot and l.queue = f.queue and l.group_key = f.group_key and l.pos = delete.job and not l.reserved;
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
    if delete_jobs.states is null or 'waiting' = any (delete_jobs.states) then  -- before their heads: none comes up
      with pick as materialized (
        select l.queue, l.group_key, l.pos from fastq.line l
        where l.slot = s and not l.reserved and (delete_jobs.queue is null or l.queue = delete_jobs.queue)
          and (delete_jobs.task is null or l.task = delete_jobs.task)
          and (delete_jobs.error is null or fastq.has_error(l.meta, delete_jobs.error))
        limit delete_jobs.most - total
        for update skip locked
      ), gone as (
        delete from fastq.line l using pick p
        where l.slot = s and l.queue = p.queue and l.group_key = p.group_key and l.pos = p.pos
        returning l.pos
      )
      select count(*), array_agg(g.pos) into cut, ids from gone g;
      perform fastq.ended(s, ids);
      total := total + cut;
    end if;
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
    ), gone as (
      delete from fastq.finished f using pick p where f.slot = s and f.id = p.id
      returning f.id
    )
    select count(*), array_agg(g.id) into cut, ids from gone g;
    perform fastq.ended(s, ids);
    total := total + cut;
  end loop;
  return total;
end $$;

-- Delete every job of a queue that waits: ready, scheduled, retrying, reserved, or in a line; returns how many. What runs
-- goes on, what is kept stays.
create or replace function fastq.purge(queue text) returns int8 language sql as
$$ select fastq.delete_jobs(array['ready', 'scheduled', 'retrying', 'reserved', 'waiting'], purge.queue) $$;

-- Reserve a job, as before; an ordered one has its place in its line from now on, and its line waits when it is the first.
create or replace function fastq.reserve_job(
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
    if fastq.ordered_of(reserve_job.meta) is not null then
      insert into fastq.line (slot, pos, priority, queue, group_key, task, meta, reserved)
      values (reserve_job.slot, job, reserve_job.priority, reserve_job.queue, reserve_job.group_key, reserve_job.task,
              reserve_job.meta, true);
      perform fastq.begin_lines(reserve_job.slot, array[reserve_job.queue], array[reserve_job.group_key]);
    end if;
  end if;
  return next;
end $$;

-- Reserve a job from any language, inside the caller's transaction; returns its id, for fastq.commit. With a `unique_key` that
-- another job holds it returns that job's id, and nothing is reserved. `delay` counts from the commit. An ordered job has its
-- place from now on.
drop function fastq.reserve(text, json, interval, text, int, interval, timestamptz, text, json, text, text);
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
  unique_until text        default 'finished',
  ordered      boolean     default false,
  on_dead      text        default 'skip'
) returns int8 language plpgsql as $$
declare
  meta json := fastq.meta_of(reserve.unique_key, reserve.unique_until, reserve.headers);
begin
  if reserve.on_dead not in ('skip', 'block') then
    raise exception 'fastq.reserve: on_dead must be skip or block, not %', reserve.on_dead using errcode = 'invalid_parameter_value';
  end if;
  if reserve.ordered then
    meta := fastq.meta_ordered(meta, reserve.on_dead);
  end if;
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
      meta, reserve.unique_key, reserve.unique_until) r);
end $$;

-- Put a reserved job into line, or let it wait for its own time: 'committed', 'before' when that was done before, or 'gone'
-- when its time is over, or it was abandoned or deleted.
-- An ordered job waits in its line, unless it is the head already.
-- With the owner's rights, because producers may not take rows away; it touches reserved jobs only.
create or replace function fastq.commit_reserved(job int8) returns text
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
      if fastq.ordered_of(g.meta) is not null then  -- whoever is just bringing its place up is waited for
        update fastq.line l set reserved = false, run_at = due, payload = g.payload
        where l.slot = s and l.queue = g.queue and l.group_key = g.group_key and l.pos = commit_reserved.job;
        if found then
          return 'committed';
        end if;
      end if;
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

-- Delete a reserved job, and free its key; false when there is no such reservation (any more).
create or replace function fastq.abandon(job int8) returns boolean
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
      perform fastq.leave_lines(s, array[abandon.job]);
      return true;
    end if;
  end loop;
  return false;
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
