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
