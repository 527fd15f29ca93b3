-- The one way out for jobs that do not run: they are deleted from wherever they are, and returned.
--
-- Rows that are locked are deleted by their addresses, as claims do (fastq/sql/__init__.py), under settings with which no plan
-- joins two tables of jobs: one that was made for few took the square of them. What a claim holds at this moment is wanted out.

-- Take the jobs of a shard that wait and fit, at most `most`; `states` null is all of ready, scheduled, retrying, reserved and
-- waiting. What they held is let go of by fastq.ended, which the caller owes them.
create or replace function fastq.take_waiting(
  s int4, states text[], queue text, task text, error text, most int8
) returns setof fastq.a_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
#variable_conflict use_column
declare
  k    int2;
  n    int8;
begin
  if states is null or 'waiting' = any (states) then  -- before their heads: none comes up
    return query
      with pick as materialized (
        select l.ctid as place from fastq.line l
        where l.shard = s and not l.reserved and (take_waiting.queue is null or l.queue = take_waiting.queue)
          and (take_waiting.task is null or l.task = take_waiting.task)
          and (take_waiting.error is null or fastq.has_error(l.meta, take_waiting.error))
        limit most
        for update skip locked
      )
      delete from fastq.line l where l.shard = s and l.ctid = any (array(select p.place from pick p))
      returning l.pos, l.priority, 0::int2, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta;
    get diagnostics n = row_count;
    most := most - n;
  end if;
  if states is null or 'ready' = any (states) then
    for k in 0 .. 3 loop  -- an address is one of a segment
      perform fastq.part_to_fit_ready(s, k, queue, task, error, most);
      return query
        with pick as materialized (
          select r.ctid as place, coalesce(r.jobs, 1) as jobs from fastq.ready r
          where r.segment = k and r.shard = s and (take_waiting.queue is null or r.queue = take_waiting.queue)
            and (take_waiting.task is null or r.task = take_waiting.task)
            and (take_waiting.error is null or fastq.has_error(r.meta, take_waiting.error))
          limit most
          for update skip locked
        ), fit as materialized (
          select f.place from (select p.place, sum(p.jobs) over (rows unbounded preceding) as upto from pick p) f
          where most is null or f.upto <= most
        ), gone as (
          delete from fastq.ready r
          where r.segment = k and r.shard = s and r.ctid = any (array(select f.place from fit f))
          returning coalesce(r.id, r.pos) as id, r.jobs, r.packet, r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key,
                    r.task, r.payload, r.meta
        )
        select e.job, g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, e.args, g.meta
        from gone g cross join lateral fastq.each(s, g.id, g.jobs, g.packet, g.payload) e;
      get diagnostics n = row_count;
      most := most - n;
    end loop;
  end if;
  perform fastq.part_to_fit_scheduled(s, states, queue, task, error, most);
  return query
    with pick as materialized (
      select w.ctid as place, coalesce(w.jobs, 1) as jobs from fastq.scheduled w
      where w.shard = s and (states is null or w.reason = any (states))
        and (take_waiting.queue is null or w.queue = take_waiting.queue)
        and (take_waiting.task is null or w.task = take_waiting.task)
        and (take_waiting.error is null or fastq.has_error(w.meta, take_waiting.error))
      limit most
      for update skip locked
    ), fit as materialized (
      select f.place from (select p.place, sum(p.jobs) over (rows unbounded preceding) as upto from pick p) f
      where most is null or f.upto <= most
    ), gone as (
      delete from fastq.scheduled w where w.shard = s and w.ctid = any (array(select f.place from fit f))
      returning w.id, w.jobs, w.packet, w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta
    )
    select e.job, g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task, e.args, g.meta
    from gone g cross join lateral fastq.each(s, g.id, g.jobs, g.packet, g.payload) e;
end $$;

-- Take the kept jobs of a shard that fit, at most `most`.
create or replace function fastq.take_kept(
  s int4, states text[], queue text, task text, error text, most int8
) returns setof fastq.a_job language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
#variable_conflict use_column
begin
  return query
    with pick as materialized (
      select f.ctid as place from fastq.finished f
      where f.shard = s and (states is null or f.state = any (states))
        and (take_kept.queue is null or f.queue = take_kept.queue)
        and (take_kept.task is null or f.task = take_kept.task)
        and (take_kept.error is null or fastq.has_error(f.meta, take_kept.error))
      limit most
      for update skip locked
    )
    delete from fastq.finished f where f.shard = s and f.ctid = any (array(select p.place from pick p))
    returning f.id, f.priority, f.attempt, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta;
end $$;

-- Part the last of the first rows that fit so that exactly `most` jobs are in whole rows; null: all are wanted.
create or replace function fastq.part_to_fit_ready(
  s int4, k int4, queue text, task text, error text, most int8
) returns void language plpgsql as $$
declare
  r    record;
  wanted int8 := most;
begin
  if most is null or error is not null then  -- what has errors is no packet
    return;
  end if;
  for r in
    select q as whole, coalesce(q.jobs, 1) as jobs from fastq.ready q
    where q.segment = k and q.shard = s and (part_to_fit_ready.queue is null or q.queue = part_to_fit_ready.queue)
      and (part_to_fit_ready.task is null or q.task = part_to_fit_ready.task)
    limit most
    for update skip locked
  loop
    exit when wanted <= 0;
    perform fastq.part_ready(r.whole, wanted::int4) where r.jobs > wanted;
    wanted := wanted - r.jobs;
  end loop;
end $$;

create or replace function fastq.part_to_fit_scheduled(
  s int4, states text[], queue text, task text, error text, most int8
) returns void language plpgsql as $$
declare
  r    record;
  wanted int8 := most;
begin
  if most is null or error is not null then
    return;
  end if;
  for r in
    select q as whole, coalesce(q.jobs, 1) as jobs from fastq.scheduled q
    where q.shard = s and (states is null or q.reason = any (states))
      and (part_to_fit_scheduled.queue is null or q.queue = part_to_fit_scheduled.queue)
      and (part_to_fit_scheduled.task is null or q.task = part_to_fit_scheduled.task)
    limit most
    for update skip locked
  loop
    exit when wanted <= 0;
    perform fastq.part_scheduled(r.whole, wanted::int4) where r.jobs > wanted;
    wanted := wanted - r.jobs;
  end loop;
end $$;

-- Take one job that fastq.find has found waiting or kept; no row when it has gone on since.
create or replace function fastq.take_found(job int8, f fastq.found) returns setof fastq.a_job language plpgsql as $$
begin
  if f.packet is not null then
    perform fastq.single_out(f.shard, job, f.packet);  -- it is found in a row of its own next time
  elsif f.state = 'ready' then
    -- A claim that holds the row is waited for; if it commits nothing is wanted here, and the job is looked for again.
    return query
      delete from fastq.ready r
      where r.segment = f.segment and r.shard = f.shard and r.queue = f.queue and r.priority = f.priority
        and r.group_key = f.group_key and r.pos = f.pos and r.packet is null
      returning job, r.priority, r.attempt, r.enqueued_ms, r.queue, r.group_key, r.task, r.payload, r.meta;
  elsif f.state = 'waiting' then
    return query
      delete from fastq.line l
      where l.shard = f.shard and l.queue = f.queue and l.group_key = f.group_key and l.pos = job and not l.reserved
      returning job, l.priority, 0::int2, l.enqueued_ms, l.queue, l.group_key, l.task, l.payload, l.meta;
  elsif f.state in ('scheduled', 'retrying', 'reserved') then
    return query
      delete from fastq.scheduled w where w.shard = f.shard and w.id = job and w.packet is null
      returning job, w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta;
  else
    return query
      delete from fastq.finished d where d.shard = f.shard and d.id = job
      returning job, d.priority, d.attempt, d.enqueued_ms, d.queue, d.group_key, d.task, d.payload, d.meta;
  end if;
end $$;
