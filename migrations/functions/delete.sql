-- Delete jobs. As in cancel.sql, jobs may be met on the move.

-- Delete a job that waits or is kept; returns the state it was in. 'running': it runs, nothing was done. Null: it is gone.
create or replace function fastq.delete(job int8) returns text language plpgsql as $$
declare
  f     record;
  moved int8;
begin
  for turn in 1 .. 1000 loop
    select w.shard, w.state, w.segment, w.pos, w.queue, w.priority, w.group_key into f from fastq.find(delete.job) w;
    if not found or f.state = 'running' then
      return f.state;
    elsif f.state = 'ready' then
      delete from fastq.ready r
      where r.segment = f.segment and r.shard = f.shard and r.queue = f.queue and r.priority = f.priority
        and r.group_key = f.group_key and r.pos = f.pos;
    elsif f.state = 'waiting' then
      delete from fastq.line l
      where l.shard = f.shard and l.queue = f.queue and l.group_key = f.group_key and l.pos = delete.job and not l.reserved;
    elsif f.state in ('scheduled', 'retrying', 'reserved') then
      delete from fastq.scheduled w where w.shard = f.shard and w.id = delete.job;
    else
      delete from fastq.finished d where d.shard = f.shard and d.id = delete.job;
    end if;
    get diagnostics moved = row_count;
    if moved > 0 then
      perform fastq.ended(f.shard, array[delete.job]);
      return f.state;
    end if;
  end loop;
  raise exception 'fastq.delete: job % moves too fast, try again', delete.job using errcode = 'lock_not_available';
end $$;

-- Delete all jobs that fit, at most `most`, but none that runs; returns how many. What a claim holds at this moment is
-- left out.
-- Rows that are locked are deleted by their addresses, as claims do (fastq/sql/__init__.py), under settings with which no
-- plan joins two tables of jobs: one that was made for few took the square of them.
create or replace function fastq.delete_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
declare
  s     int4;
  k     int2;
  cut   int8;
  ids   int8[];
  total int8 := 0;
begin
  for s in 0 .. fastq.shards() - 1 loop
    if delete_jobs.states is null or 'waiting' = any (delete_jobs.states) then  -- before their heads: none comes up
      with pick as materialized (
        select l.ctid as place from fastq.line l
        where l.shard = s and not l.reserved and (delete_jobs.queue is null or l.queue = delete_jobs.queue)
          and (delete_jobs.task is null or l.task = delete_jobs.task)
          and (delete_jobs.error is null or fastq.has_error(l.meta, delete_jobs.error))
        limit delete_jobs.most - total
        for update skip locked
      ), gone as (
        delete from fastq.line l where l.shard = s and l.ctid = any (array(select p.place from pick p))
        returning l.pos
      )
      select count(*), array_agg(g.pos) into cut, ids from gone g;
      perform fastq.ended(s, ids);
      total := total + cut;
    end if;
    if delete_jobs.states is null or 'ready' = any (delete_jobs.states) then
      for k in 0 .. 3 loop  -- an address is one of a segment
        with pick as materialized (
          select r.ctid as place from fastq.ready r
          where r.segment = k and r.shard = s and (delete_jobs.queue is null or r.queue = delete_jobs.queue)
            and (delete_jobs.task is null or r.task = delete_jobs.task)
            and (delete_jobs.error is null or fastq.has_error(r.meta, delete_jobs.error))
          limit delete_jobs.most - total
          for update skip locked
        ), gone as (
          delete from fastq.ready r
          where r.segment = k and r.shard = s and r.ctid = any (array(select p.place from pick p))
          returning coalesce(r.id, r.pos) as id
        )
        select count(*), array_agg(g.id) into cut, ids from gone g;
        perform fastq.ended(s, ids);
        total := total + cut;
      end loop;
    end if;
    with pick as materialized (
      select w.ctid as place from fastq.scheduled w
      where w.shard = s and (delete_jobs.states is null or w.reason = any (delete_jobs.states))
        and (delete_jobs.queue is null or w.queue = delete_jobs.queue)
        and (delete_jobs.task is null or w.task = delete_jobs.task)
        and (delete_jobs.error is null or fastq.has_error(w.meta, delete_jobs.error))
      limit delete_jobs.most - total
      for update skip locked
    ), gone as (
      delete from fastq.scheduled w where w.shard = s and w.ctid = any (array(select p.place from pick p))
      returning w.id
    )
    select count(*), array_agg(g.id) into cut, ids from gone g;
    perform fastq.ended(s, ids);
    total := total + cut;
    with pick as materialized (
      select f.ctid as place from fastq.finished f
      where f.shard = s and (delete_jobs.states is null or f.state = any (delete_jobs.states))
        and (delete_jobs.queue is null or f.queue = delete_jobs.queue)
        and (delete_jobs.task is null or f.task = delete_jobs.task)
        and (delete_jobs.error is null or fastq.has_error(f.meta, delete_jobs.error))
      limit delete_jobs.most - total
      for update skip locked
    ), gone as (
      delete from fastq.finished f where f.shard = s and f.ctid = any (array(select p.place from pick p))
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
