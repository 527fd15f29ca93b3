-- Delete jobs. As in cancel.sql, jobs may be met on the move.

-- Delete a job that waits or is kept; returns the state it was in. 'running': it runs, nothing was done. Null: it is gone.
create or replace function fastq.delete(job int8) returns text language plpgsql as $$
declare
  f fastq.found;
begin
  for turn in 1 .. 1000 loop
    select w.* into f from fastq.find(delete.job) w;
    if not found or f.state = 'running' then
      return f.state;
    end if;
    perform from fastq.take_found(delete.job, f);
    if found then
      perform fastq.ended(f.shard, array[delete.job]);
      return f.state;
    end if;
  end loop;
  raise exception 'fastq.delete: job % moves too fast, try again', delete.job using errcode = 'lock_not_available';
end $$;

-- Delete all jobs that fit, at most `most`, but none that runs; returns how many.
create or replace function fastq.delete_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  ids   int8[];
  total int8 := 0;
begin
  for s in select * from fastq.all_shards() loop
    ids := array(select t.id from fastq.take_waiting(s, states, queue, task, error, most - total) t);
    total := total + cardinality(ids);
    perform fastq.ended(s, ids);
    ids := array(select t.id from fastq.take_kept(s, states, queue, task, error, most - total) t);
    total := total + cardinality(ids);
    perform fastq.ended(s, ids);
  end loop;
  return total;
end $$;

-- Delete every job of a queue that waits: ready, scheduled, retrying, reserved, or in a line; returns how many. What runs
-- goes on, what is kept stays.
create or replace function fastq.purge(queue text) returns int8 language sql as
$$ select fastq.delete_jobs(array['ready', 'scheduled', 'retrying', 'reserved', 'waiting'], purge.queue) $$;
