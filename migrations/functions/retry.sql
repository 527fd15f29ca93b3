-- Put kept jobs back into line.

-- Put a job that failed, was discarded or cancelled, or expired back into line, its attempts starting again; true if this call did.
-- A unique job takes its key again; it is refused while another job holds it. An ordered job goes where its id stands in
-- its line: first, unless others that were skipped before it were retried too.
create or replace function fastq.retry(job int8) returns boolean language plpgsql as $$
declare
  s      int4;
  home   int4;
  g      record;
  j      fastq.a_job;
  uniq   json;
  holder int8;
begin
  for s in select * from fastq.all_shards() loop
    delete from fastq.finished f
    where f.shard = s and f.id = retry.job and f.state in ('failed', 'discarded', 'cancelled', 'expired') and f.payload is not null
    returning f.id, f.priority, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta into g;
    if found then
      j := row(g.id, g.priority, 0, g.enqueued_ms, g.queue, g.group_key, g.task, g.payload, fastq.meta_anew(g.meta));
      delete from fastq.cancellation c where c.shard = s and c.job = g.id;
      home := fastq.home_of(s, g.queue, g.group_key, g.meta);
      uniq := fastq.unique_of(g.meta);
      if uniq is not null then
        select h.holder into holder
        from fastq.hold_keys(home, array[g.id], array[uniq ->> 0], array[uniq ->> 1], array[g.queue], array[g.priority],
                             array[g.group_key]) h;
        if holder <> g.id then
          raise exception 'job % cannot be retried: its unique key % is held by job %', g.id, uniq ->> 0, holder
            using errcode = 'unique_violation';
        end if;
      end if;
      if fastq.ordered_of(g.meta) is not null
        and not exists (select from fastq.head h where h.shard = home and h.job = g.id) then  -- else it still blocks its line
        perform fastq.put_in_line(home, j, null);
      else
        perform fastq.put_job(home, j, null);
      end if;
      return true;
    end if;
  end loop;
  return false;
end $$;

-- Retry all kept jobs that fit, at most `most`, those that finished first; returns how many. What somebody else is
-- working on is left out, and so are unique jobs whose key another job holds. Ordered jobs, and those that have to go to another shard, go one by one.
-- The settings and the addresses: as in fastq.delete_jobs.
create or replace function fastq.retry_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null
) returns int8 language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 set enable_nestloop = off as $$
declare
  s     int4;
  put   int8;
  total int8 := 0;
  job   int8;
begin
  for s in select * from fastq.all_shards() loop
    with pick as materialized (
      select f.ctid as place, f.id, f.finished_at, f.queue, f.priority, f.group_key, fastq.unique_of(f.meta) as uniq
      from fastq.finished f
      where f.shard = s and f.state in ('failed', 'discarded', 'cancelled', 'expired') and f.payload is not null
        and not fastq.goes_alone(s, f.queue, f.group_key, f.meta)
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
      delete from fastq.finished f
      where f.shard = s and f.ctid = any (array(
        select p.place from pick p left join held h on h.job = p.id where p.uniq is null or h.holder = p.id))
      returning f.id, f.priority, f.finished_at, f.enqueued_ms, f.queue, f.group_key, f.task, f.payload, f.meta
    ), unmarked as (
      delete from fastq.cancellation c using gone g where c.shard = s and c.job = g.id
    ), back as (
      insert into fastq.ready (segment, shard, priority, attempt, id, enqueued_ms, queue, group_key, task, payload, meta)
      select coalesce((select n.head from fastq.ring n where n.shard = s), 0), s, g.priority, 0, g.id, g.enqueued_ms, g.queue,
             g.group_key, g.task, g.payload, fastq.meta_anew(g.meta)
      from gone g
      order by g.finished_at, g.id
      returning 1
    )
    select count(*) into put from back;
    total := total + put;
    for job in
      select f.id from fastq.finished f
      where f.shard = s and f.state in ('failed', 'discarded', 'cancelled', 'expired') and f.payload is not null
        and fastq.goes_alone(s, f.queue, f.group_key, f.meta)
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
