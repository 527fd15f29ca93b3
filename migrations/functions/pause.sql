-- Stop and go on: queues, and the fleet.

-- Stop claims from a queue; what runs goes on. False: it was paused already. The queue need not have had a job yet.
create or replace function fastq.pause(queue text) returns boolean language plpgsql as $$
begin
  insert into fastq.queue as q (name, paused) values (pause.queue, true)
  on conflict (name) do update set paused = true where not q.paused;
  return found;
end $$;

-- Let a paused queue go on. False: it was not paused.
create or replace function fastq.resume(queue text) returns boolean language plpgsql as $$
begin
  update fastq.queue q set paused = false where q.name = resume.queue and q.paused;
  if found then
    perform pg_notify('fastq', '');
  end if;
  return found;
end $$;

-- Let each supervisor of the fleet, or of one host, have so many worker processes, and each worker run so many jobs at once; null:
-- as it is. Their stewards see the order and pass it on; what runs goes on to its end. Returns how many workers were told.
-- Supervisors that are started later begin as their options say.
create or replace function fastq.resize(
  host text default null, processes int default null, concurrency int default null
) returns int8 language plpgsql as $$
declare
  told   int8;
  wanted json;
begin
  if resize.processes not between 1 and 1024 or resize.concurrency not between 1 and 10000 then
    raise exception 'fastq.resize: processes are 1 to 1024, concurrency is 1 to 10000'
      using errcode = 'invalid_parameter_value';
  end if;
  if coalesce(resize.processes, resize.concurrency) is null then
    raise exception 'fastq.resize: say how many processes, or what concurrency, or both' using errcode = 'invalid_parameter_value';
  end if;
  wanted := json_build_object('number', nextval('fastq.worker_id'), 'processes', resize.processes,
                              'concurrency', resize.concurrency);
  update fastq.worker w set resize = wanted
  where w.shard = 0 and (resize.host is null or w.host = resize.host);
  get diagnostics told = row_count;
  perform pg_notify('fastq', 'cancel');
  return told;
end $$;

-- Drain the fleet, or one host: its stewards see the mark and have their supervisors drain, as TERM does; returns how many
-- workers were told. Supervisors that are started later run as ever.
create or replace function fastq.drain(host text default null) returns int8 language plpgsql as $$
declare
  told int8;
begin
  update fastq.worker w set draining = true where (drain.host is null or w.host = drain.host) and not w.draining;
  select count(*) into told from fastq.worker w where w.shard = 0 and w.draining and (drain.host is null or w.host = drain.host);
  perform pg_notify('fastq', 'cancel');
  return told;
end $$;
