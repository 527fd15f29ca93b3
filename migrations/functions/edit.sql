-- Change a job that waits.

-- Change what is given of a job that waits: its queue, its priority, its arguments, when it runs. False: it does not wait (any
-- more). A job that runs is left alone; one of an ordered group keeps its queue and its priority.
create or replace function fastq.edit(
  job      int8,
  queue    text        default null,
  priority int         default null,
  args     json        default null,
  run_at   timestamptz default null
) returns boolean language plpgsql as $$
declare
  f fastq.found;
  j fastq.a_job;
begin
  if edit.args is not null then
    perform fastq.check_payload('fastq.edit', edit.args);
  end if;
  for turn in 1 .. 100 loop  -- again when it had gone on since it was found
    select * into f from fastq.find(edit.job);
    if not found or f.state not in ('ready', 'scheduled', 'retrying', 'waiting') then
      return false;
    end if;
    if fastq.ordered_of(f.meta) is not null and (edit.queue is not null or edit.priority is not null) then
      raise exception 'fastq.edit: job % stands in an ordered group, and keeps its queue and its priority', edit.job
        using errcode = 'invalid_parameter_value';
    end if;
    select * into j from fastq.take_found(edit.job, f);
    continue when not found;
    j.queue := coalesce(edit.queue, j.queue);
    j.priority := coalesce(edit.priority, j.priority);
    j.payload := coalesce(edit.args, j.payload);
    if f.state = 'waiting' then
      perform fastq.put_in_line(f.shard, j, coalesce(edit.run_at, f.run_at));
    else
      perform fastq.put_job(f.shard, j, coalesce(edit.run_at, f.run_at));
    end if;
    update fastq.unique_key k set queue = j.queue, priority = j.priority where k.shard = f.shard and k.job = edit.job;
    return true;
  end loop;
  return false;
end $$;

-- Move all jobs that fit and wait, about `most`, to another queue, give them another priority, or let those run now that wait
-- for a time; returns how many were changed. What stands in an ordered group keeps its queue and its priority. Jobs that are as
-- they shall be are left out: called again and again it comes to an end. A packet is changed as a whole, and stays in its
-- segment, where its payloads are; it takes a new place, since workers have looked past the old one.
create or replace function fastq.edit_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most int8 default null, to_queue text default null, to_priority int default null, now boolean default false
) returns int8 language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
#variable_conflict use_column
declare
  s     int4;
  k     int2;
  put   int8;
  keys  int8[];
  total int8 := 0;
begin
  if edit_jobs.to_priority not between 0 and 9 or edit_jobs.to_queue = '' then
    raise exception 'fastq.edit_jobs: a priority is 0 to 9, a queue has a name' using errcode = 'invalid_parameter_value';
  end if;
  for s in select * from fastq.all_shards() loop
    for k in 0 .. 3 loop
      exit when edit_jobs.states is not null and not 'ready' = any (edit_jobs.states) or total >= edit_jobs.most;
      with pick as materialized (
        select r.ctid as place, coalesce(r.jobs, 1) as jobs from fastq.ready r
        where r.segment = k and r.shard = s and (edit_jobs.queue is null or r.queue = edit_jobs.queue)
          and (edit_jobs.task is null or r.task = edit_jobs.task)
          and (edit_jobs.error is null or fastq.has_error(r.meta, edit_jobs.error))
          and (r.queue <> edit_jobs.to_queue or r.priority <> edit_jobs.to_priority) and fastq.ordered_of(r.meta) is null
        limit edit_jobs.most - total
        for update skip locked
      ), fit as materialized (
        select f.place from (select p.place, sum(p.jobs) over (rows unbounded preceding) - p.jobs as before from pick p) f
        where edit_jobs.most is null or f.before < edit_jobs.most - total
      ), moved as (
        update fastq.ready r
        set queue = coalesce(edit_jobs.to_queue, r.queue), priority = coalesce(edit_jobs.to_priority, r.priority),
            id = coalesce(r.id, r.pos), pos = nextval('fastq.pos')
        where r.segment = k and r.shard = s and r.ctid = any (array(select f.place from fit f))
        returning r.id, coalesce(r.jobs, 1) as jobs, fastq.unique_of(r.meta) as uniq
      )
      select coalesce(sum(m.jobs), 0), array_agg(m.id) filter (where m.uniq is not null) into put, keys from moved m;
      total := total + put;
      perform fastq.key_moved(s, keys, edit_jobs.to_queue, edit_jobs.to_priority);
    end loop;
    continue when total >= edit_jobs.most;
    with pick as materialized (
      select w.ctid as place, coalesce(w.jobs, 1) as jobs from fastq.scheduled w
      where w.shard = s and w.reason in ('scheduled', 'retrying')
        and (edit_jobs.states is null or w.reason = any (edit_jobs.states))
        and (edit_jobs.queue is null or w.queue = edit_jobs.queue) and (edit_jobs.task is null or w.task = edit_jobs.task)
        and (edit_jobs.error is null or fastq.has_error(w.meta, edit_jobs.error))
        and (edit_jobs.now and w.run_at > statement_timestamp()
             or (w.queue <> edit_jobs.to_queue or w.priority <> edit_jobs.to_priority) and fastq.ordered_of(w.meta) is null)
      limit edit_jobs.most - total
      for update skip locked
    ), fit as materialized (
      select f.place from (select p.place, sum(p.jobs) over (rows unbounded preceding) - p.jobs as before from pick p) f
      where edit_jobs.most is null or f.before < edit_jobs.most - total
    ), moved as (
      update fastq.scheduled w
      set queue = coalesce(edit_jobs.to_queue, w.queue), priority = coalesce(edit_jobs.to_priority, w.priority),
          run_at = case when edit_jobs.now then least(w.run_at, statement_timestamp()) else w.run_at end
      where w.shard = s and w.ctid = any (array(select f.place from fit f))
      returning w.id, coalesce(w.jobs, 1) as jobs, fastq.unique_of(w.meta) as uniq
    )
    select coalesce(sum(m.jobs), 0), array_agg(m.id) filter (where m.uniq is not null) into put, keys from moved m;
    total := total + put;
    perform fastq.key_moved(s, keys, edit_jobs.to_queue, edit_jobs.to_priority);
  end loop;
  if total > 0 then
    perform pg_notify('fastq', '');
  end if;
  return total;
end $$;

-- Let the unique keys of jobs know where these stand now.
create or replace function fastq.key_moved(s int4, jobs int8[], queue text, priority int) returns void language sql as $$
  update fastq.unique_key k
  set queue = coalesce(key_moved.queue, k.queue), priority = coalesce(key_moved.priority, k.priority)
  where k.shard = s and k.job = any (key_moved.jobs)
$$;
