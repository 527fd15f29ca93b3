-- See and steer: find one job by its id wherever it stands; cancel, retry and delete jobs; pause and purge queues.
-- A function may meet jobs on the move: it looks, acts on what it saw, and looks again when that had gone on.

-- Running jobs that somebody wants to end. The worker that holds the lease ends the run. A mark whose lease is gone
-- follows its job (fastq.sweep_cancellations), so the retry of a marked job is cancelled too. Only the sweep and fastq.retry
-- delete marks: it takes the mark before the job, and whoever took them the other way round could deadlock with it.
create table fastq.cancellation (
  slot     int4 not null,
  job      int8 not null,
  lease    int8 not null,
  ord      int2 not null,
  asked_at timestamptz not null default now(),
  primary key (slot, job)
);

create function fastq.slots() returns int language sql stable as
$$ select s.value::text::int from fastq.setting s where s.name = 'slots' $$;

-- Find a job by its id, all places in one snapshot: no row means that it is gone. `pos` is set in ready, `lease` and
-- `ord` where it runs. It takes the keys of scheduled and finished, the partial index on ready, one probe for each of at
-- most 2000 lanes of ready, and a search for the id's digits in the packed leases; with more lanes than that, one pass
-- over ready's key. The settings keep a planner without statistics on the indexes.
create function fastq.find(job int8)
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
        select l.slot, j.id, 'running', null::int2, null::int8, l.id, j.ord, l.queue, l.priority, l.group_key, j.task,
               j.attempt, j.enqueued_ms, null::timestamptz, l.claimed_at, null::timestamptz, null::timestamptz, l.worker,
               j.payload, null::json, j.meta
        from (select h.slot, h.id, h.worker, h.queue, h.priority, h.group_key, h.claimed_at, h.batch, h.done
              from fastq.lease h
              where h.slot = s and position(convert_to(find.job::text, 'UTF8') in h.batch) > 0
              offset 0) l
        cross join lateral fastq.unpack(l.batch, l.done) j
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

-- Whether a text occurs in what is kept of a job's errors: type, message or traceback. A header with \u0000 makes `->`
-- fail; then everything behind the word counts as errors.
create function fastq.has_error(meta json, needle text) returns boolean language plpgsql immutable as $$
declare
  written text := substr(to_json(needle)::text, 2, length(to_json(needle)::text) - 2);
begin
  if meta is null or strpos(meta::text, written) = 0 then
    return false;
  end if;
  return coalesce(strpos((meta -> 'errors')::text, written) > 0, false);
exception when untranslatable_character or invalid_text_representation then
  return strpos(substr(meta::text, strpos(meta::text, '"errors"')), written) > 0 and strpos(meta::text, '"errors"') > 0;
end $$;

-- What a job keeps of its past when its attempts start again: everything but the crashes. They are written last, so where
-- jsonb refuses a header with \u0000 they are cut off.
create function fastq.without_crashes(meta json) returns json language plpgsql immutable as $$
begin
  if strpos(meta::text, '"crashes"') = 0 then
    return meta;
  end if;
  return meta::jsonb - 'crashes';
exception when untranslatable_character or invalid_text_representation then
  return regexp_replace(meta::text, ',?\s*"crashes"\s*:\s*\d+\s*\}\s*$', '}')::json;
end $$;

-- Put a job that failed, was discarded or cancelled back into line, its attempts starting again; true if this call did.
create function fastq.retry(job int8) returns boolean language plpgsql as $$
declare
  s   int4;
  put int8;
begin
  for s in 0 .. fastq.slots() - 1 loop
    with gone as (
      delete from fastq.finished f
      where f.slot = s and f.id = retry.job and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
      returning f.id, f.priority, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta
    ), unmarked as (
      delete from fastq.cancellation c using gone g where c.slot = s and c.job = g.id
    ), back as (
      insert into fastq.ready (segment, slot, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
      select coalesce((select n.head from fastq.ring n where n.slot = s), 0), s, g.priority, 0, g.id, g.enqueued_ms, g.queue,
             g.group_key, g.task, g.payload, fastq.without_crashes(g.meta)
      from gone g
      returning 1
    )
    select count(*) into put from back;
    if put > 0 then
      perform pg_notify('fastq', '');
      return true;
    end if;
  end loop;
  return false;
end $$;

-- Retry all kept jobs that fit, at most `most`, those that finished first; returns how many. What somebody else is
-- working on is left out.
create function fastq.retry_jobs(
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
      select f.id from fastq.finished f
      where f.slot = s and f.state in ('failed', 'discarded', 'cancelled') and f.payload is not null
        and (retry_jobs.states is null or f.state = any (retry_jobs.states))
        and (retry_jobs.queue is null or f.queue = retry_jobs.queue)
        and (retry_jobs.task is null or f.task = retry_jobs.task)
        and (retry_jobs.error is null or fastq.has_error(f.meta, retry_jobs.error))
      order by f.finished_at
      limit retry_jobs.most - total
      for update skip locked
    ), gone as (
      delete from fastq.finished f using pick p where f.slot = s and f.id = p.id
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
create function fastq.cancel(job int8) returns text language plpgsql as $$
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
      return 'cancelled';
    end if;
  end loop;
  raise exception 'fastq.cancel: job % moves too fast, try again', cancel.job using errcode = 'lock_not_available';
end $$;

-- Cancel all jobs that fit, at most `most`: those that wait at once, those that run by a mark. What a claim holds at this
-- moment is left out.
create function fastq.cancel_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null, out cancelled int8, out cancelling int8
) language plpgsql as $$
#variable_conflict use_column
declare
  s   int4;
  put int8;
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
        returning 1
      )
      select count(*) into put from kept;
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
      returning 1
    )
    select count(*) into put from kept;
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

-- Let marks whose job left its lease follow it: it waits again (cancelled now), runs again (marked again), or is through
-- with (the mark goes). Looks at `most` such marks; returns how many were dealt with. Any number may run it at a time.
create function fastq.sweep_cancellations(most int default 100) returns int language plpgsql as $$
declare
  m     record;
  swept int := 0;
begin
  for m in
    select c.slot, c.job from fastq.cancellation c
    where not exists (select from fastq.lease l where l.slot = c.slot and l.id = c.lease and c.ord <> all (l.done))
    order by c.asked_at, c.slot, c.job
    limit sweep_cancellations.most
    for update of c skip locked
  loop
    if fastq.cancel(m.job) is distinct from 'cancelling' then
      delete from fastq.cancellation c where c.slot = m.slot and c.job = m.job;
    end if;
    swept := swept + 1;
  end loop;
  return swept;
end $$;

-- Delete a job that waits or is kept; returns the state it was in. 'running': it runs, nothing was done. Null: it is gone.
create function fastq.delete(job int8) returns text language plpgsql as $$
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
      return f.state;
    end if;
  end loop;
  raise exception 'fastq.delete: job % moves too fast, try again', delete.job using errcode = 'lock_not_available';
end $$;

-- Delete all jobs that fit, at most `most`, but none that runs; returns how many. What a claim holds at this moment is
-- left out.
create function fastq.delete_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  cut   int8;
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
      )
      delete from fastq.ready r using pick p
      where r.segment = p.segment and r.slot = s and r.queue = p.queue and r.priority = p.priority
        and r.group_key = p.group_key and r.pos = p.pos;
      get diagnostics cut = row_count;
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
    )
    delete from fastq.scheduled w using pick p where w.slot = s and w.id = p.id;
    get diagnostics cut = row_count;
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

-- Stop claims from a queue; what runs goes on. False: it was paused already. The queue need not have had a job yet.
create function fastq.pause(queue text) returns boolean language sql as $$
  with put as (
    insert into fastq.queue as q (name, paused) values (pause.queue, true)
    on conflict (name) do update set paused = true where not q.paused
    returning 1)
  select exists (select from put)
$$;

-- Let a paused queue go on. False: it was not paused.
create function fastq.resume(queue text) returns boolean language plpgsql as $$
begin
  update fastq.queue q set paused = false where q.name = resume.queue and q.paused;
  if found then
    perform pg_notify('fastq', '');
  end if;
  return found;
end $$;

-- Delete every job of a queue that waits: ready, scheduled, retrying, reserved; returns how many. What runs goes on, what
-- is kept stays.
create function fastq.purge(queue text) returns int8 language sql as
$$ select fastq.delete_jobs(array['ready', 'scheduled', 'retrying', 'reserved'], purge.queue) $$;
