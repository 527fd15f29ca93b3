-- Cancel jobs. A function may meet jobs on the move: it looks, acts on what it saw, and looks again when that had gone on.

-- Cancel a job. One that waits is kept as cancelled at once: 'cancelled', also when it was before. One that runs is
-- marked for its worker: 'cancelling'. Null: it ended otherwise, or is gone.
create or replace function fastq.cancel(job int8) returns text language plpgsql as $$
#variable_conflict use_column
declare
  f     record;
  moved int8;
begin
  for turn in 1 .. 1000 loop
    select w.shard, w.state, w.segment, w.pos, w.lease, w.ord, w.queue, w.priority, w.group_key into f
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
      insert into fastq.cancellation as c (shard, job, lease, ord) values (f.shard, cancel.job, f.lease, f.ord)
      on conflict (shard, job) do update set lease = excluded.lease, ord = excluded.ord;
      return 'cancelling';
    when 'ready' then
      -- A claim that holds the row is waited for; if it commits nothing is left here, and the job is looked for again.
      with gone as (
        delete from fastq.ready r
        where r.segment = f.segment and r.shard = f.shard and r.queue = f.queue and r.priority = f.priority
          and r.group_key = f.group_key and r.pos = f.pos
        returning r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key, r.task, r.payload, r.meta
      ), kept as (
        insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.shard, cancel.job, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task,
               g.payload, g.meta
        from gone g
        returning 1
      )
      select count(*) into moved from kept;
    when 'waiting' then
      with gone as (
        delete from fastq.line l
        where l.shard = f.shard and l.queue = f.queue and l.group_key = f.group_key and l.pos = cancel.job and not l.reserved
        returning l.priority, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta
      ), kept as (
        insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.shard, cancel.job, 'cancelled', g.priority, 0, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload,
               g.meta
        from gone g
        returning 1
      )
      select count(*) into moved from kept;
    else
      with gone as (
        delete from fastq.scheduled w where w.shard = f.shard and w.id = cancel.job
        returning w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta
      ), kept as (
        insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select f.shard, cancel.job, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task,
               g.payload, g.meta
        from gone g
        returning 1
      )
      select count(*) into moved from kept;
    end case;
    if moved > 0 then
      perform fastq.ended(f.shard, array[cancel.job]);
      return 'cancelled';
    end if;
  end loop;
  raise exception 'fastq.cancel: job % moves too fast, try again', cancel.job using errcode = 'lock_not_available';
end $$;

-- Cancel all jobs that fit, at most `most`: those that wait at once, those that run by a mark. What a claim holds at this
-- moment is left out. The settings and the addresses: as in fastq.delete_jobs.
create or replace function fastq.cancel_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null, out cancelled int8, out cancelling int8
) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
#variable_conflict use_column
declare
  s   int4;
  k   int2;
  put int8;
  ids int8[];
begin
  cancelled := 0;
  cancelling := 0;
  for s in 0 .. fastq.shards() - 1 loop
    if cancel_jobs.states is null or 'waiting' = any (cancel_jobs.states) then  -- before their heads: none comes up
      with pick as materialized (
        select l.ctid as place from fastq.line l
        where l.shard = s and not l.reserved and (cancel_jobs.queue is null or l.queue = cancel_jobs.queue)
          and (cancel_jobs.task is null or l.task = cancel_jobs.task)
          and (cancel_jobs.error is null or fastq.has_error(l.meta, cancel_jobs.error))
        limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
        for update skip locked
      ), gone as (
        delete from fastq.line l where l.shard = s and l.ctid = any (array(select p.place from pick p))
        returning l.pos, l.priority, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta
      ), kept as (
        insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
        select s, g.pos, 'cancelled', g.priority, 0, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
        from gone g
        returning id
      )
      select count(*), array_agg(k.id) into put, ids from kept k;
      perform fastq.ended(s, ids);
      cancelled := cancelled + put;
    end if;
    if cancel_jobs.states is null or 'ready' = any (cancel_jobs.states) then
      for k in 0 .. 3 loop
        with pick as materialized (
          select r.ctid as place from fastq.ready r
          where r.segment = k and r.shard = s and (cancel_jobs.queue is null or r.queue = cancel_jobs.queue)
            and (cancel_jobs.task is null or r.task = cancel_jobs.task)
            and (cancel_jobs.error is null or fastq.has_error(r.meta, cancel_jobs.error))
          limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
          for update skip locked
        ), gone as (
          delete from fastq.ready r
          where r.segment = k and r.shard = s and r.ctid = any (array(select p.place from pick p))
          returning coalesce(r.id, r.pos) as id, r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key, r.task,
                    r.payload, r.meta
        ), kept as (
          insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
          select s, g.id, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
          from gone g
          returning id
        )
        select count(*), array_agg(f.id) into put, ids from kept f;
        perform fastq.ended(s, ids);
        cancelled := cancelled + put;
      end loop;
    end if;
    with pick as materialized (
      select w.ctid as place from fastq.scheduled w
      where w.shard = s and (cancel_jobs.states is null or w.reason = any (cancel_jobs.states))
        and (cancel_jobs.queue is null or w.queue = cancel_jobs.queue)
        and (cancel_jobs.task is null or w.task = cancel_jobs.task)
        and (cancel_jobs.error is null or fastq.has_error(w.meta, cancel_jobs.error))
      limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
      for update skip locked
    ), gone as (
      delete from fastq.scheduled w where w.shard = s and w.ctid = any (array(select p.place from pick p))
      returning w.id, w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta
    ), kept as (
      insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
      select s, g.id, 'cancelled', g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, g.meta
      from gone g
      returning id
    )
    select count(*), array_agg(k.id) into put, ids from kept k;
    perform fastq.ended(s, ids);
    cancelled := cancelled + put;
    if cancel_jobs.states is null or 'running' = any (cancel_jobs.states) then
      insert into fastq.cancellation as c (shard, job, lease, ord)
      select s, j.id, l.id, j.ord
      from fastq.lease l cross join lateral fastq.try_unpack(l.batch, l.done) j
      where l.shard = s and (cancel_jobs.queue is null or l.queue = cancel_jobs.queue)
        and (cancel_jobs.task is null or j.task = cancel_jobs.task)
        and (cancel_jobs.error is null or fastq.has_error(j.meta, cancel_jobs.error))
      limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
      on conflict (shard, job) do update set lease = excluded.lease, ord = excluded.ord;
      get diagnostics put = row_count;
      cancelling := cancelling + put;
    end if;
  end loop;
end $$;

-- Let marks whose job left its lease follow it: it waits again (cancelled now), runs again (marked again), or is through
-- with (the mark goes). Looks at `most` such marks; returns how many were dealt with. Any number may run it at a time.
create or replace function fastq.sweep_cancellations(most int default 100) returns int language plpgsql as $$
declare
  m     record;
  swept int := 0;
begin
  for m in
    select c.shard, c.job from fastq.cancellation c
    where not exists (select from fastq.lease l where l.shard = c.shard and l.id = c.lease and c.ord <> all (l.done))
    order by c.asked_at, c.shard, c.job
    limit sweep_cancellations.most
    for update of c skip locked
  loop
    if fastq.cancel(m.job) is distinct from 'cancelling' then
      delete from fastq.cancellation c where c.shard = m.shard and c.job = m.job;
    end if;
    swept := swept + 1;
  end loop;
  return swept;
end $$;
