-- Cancel jobs. A function may meet jobs on the move: it looks, acts on what it saw, and looks again when that had gone on.

-- Cancel a job. One that waits is kept as cancelled at once: 'cancelled', also when it was before. One that runs is
-- marked for its worker, whose steward is told: 'cancelling'. Null: it ended otherwise, or is gone.
create or replace function fastq.cancel(job int8) returns text language plpgsql as $$
#variable_conflict use_column
declare
  f fastq.found;
begin
  for turn in 1 .. 1000 loop
    select w.* into f from fastq.find(cancel.job) w;
    if not found or f.state in ('succeeded', 'failed', 'discarded', 'expired') then
      return null;
    elsif f.state = 'cancelled' then
      return 'cancelled';
    elsif f.state = 'running' then
      insert into fastq.cancellation as c (shard, job, lease, ord) values (f.shard, cancel.job, f.lease, f.ord)
      on conflict (shard, job) do update set lease = excluded.lease, ord = excluded.ord;
      perform pg_notify('fastq', 'cancel');
      return 'cancelling';
    end if;
    insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
    select f.shard, t.id, 'cancelled', t.priority, t.attempt, t.enqueued_ms, t.queue, t.group_key, t.task, t.payload, t.meta
    from fastq.take_found(cancel.job, f) t;
    if found then
      perform fastq.ended(f.shard, array[cancel.job]);
      return 'cancelled';
    end if;
  end loop;
  raise exception 'fastq.cancel: job % moves too fast, try again', cancel.job using errcode = 'lock_not_available';
end $$;

-- Cancel all jobs that fit, at most `most`: those that wait at once, those that run by a mark, of which stewards are told.
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
  for s in select * from fastq.all_shards() loop
    with kept as (
      insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
      select s, t.id, 'cancelled', t.priority, t.attempt, t.enqueued_ms, t.queue, t.group_key, t.task, t.payload, t.meta
      from fastq.take_waiting(s, cancel_jobs.states, cancel_jobs.queue, cancel_jobs.task, cancel_jobs.error,
                              cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling) t
      returning id
    )
    select count(*), array_agg(k.id) into put, ids from kept k;
    perform fastq.ended(s, ids);
    cancelled := cancelled + put;
    if cancel_jobs.states is null or 'running' = any (cancel_jobs.states) then
      insert into fastq.cancellation as c (shard, job, lease, ord)
      select s, j.id, l.id, j.ord
      from fastq.lease l cross join lateral fastq.try_jobs_of(row(l.*)::fastq.lease) j
      where l.shard = s and (cancel_jobs.queue is null or l.queue = cancel_jobs.queue)
        and (cancel_jobs.task is null or j.task = cancel_jobs.task)
        and (cancel_jobs.error is null or fastq.has_error(j.meta, cancel_jobs.error))
      limit cancel_jobs.most - cancel_jobs.cancelled - cancel_jobs.cancelling
      on conflict (shard, job) do update set lease = excluded.lease, ord = excluded.ord;
      get diagnostics put = row_count;
      cancelling := cancelling + put;
    end if;
  end loop;
  if cancelling > 0 then
    perform pg_notify('fastq', 'cancel');
  end if;
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
