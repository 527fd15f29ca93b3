-- Two-phase enqueue: a reserved job stands in scheduled and is promoted by nobody. fastq.commit puts it into line, where it
-- has the place of its reservation; when its time is over it is deleted.

-- Reserve a job for so many seconds; says which job holds its unique key, if it has one, and whether that is another one:
-- then nothing was reserved. `patience` bounds how long another's open transaction is waited for. An ordered job has its
-- place in its line from now on, and its line waits when it is the first.
create or replace function fastq.reserve_job(
  shard int4, expires_s float8, delay_s float8, run_at timestamptz, queue text, priority int2, group_key text, task text,
  payload json, meta json, key text, until text, patience text default null
) returns table (job int8, duplicate boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  perform fastq.check_meta('fastq.reserve_job', reserve_job.meta);
  if patience is not null then
    perform set_config('lock_timeout', patience, true);
  end if;
  job := nextval('fastq.pos');
  duplicate := false;
  if reserve_job.key is not null then
    select h.holder, h.holder <> h.job into job, duplicate
    from fastq.hold_keys(reserve_job.shard, array[job], array[reserve_job.key], array[reserve_job.until],
                         array[reserve_job.queue], array[reserve_job.priority], array[reserve_job.group_key]) h;
  end if;
  if not duplicate then
    insert into fastq.scheduled (shard, id, run_at, reason, commit_delay, commit_at, queue, priority, group_key, task, payload, meta)
    values (reserve_job.shard, job, clock_timestamp() + reserve_job.expires_s * interval '1 second', 'reserved',
            reserve_job.delay_s * interval '1 second', reserve_job.run_at, reserve_job.queue, reserve_job.priority,
            reserve_job.group_key, reserve_job.task, reserve_job.payload, reserve_job.meta);
    if fastq.ordered_of(reserve_job.meta) is not null then
      perform fastq.put_in_line(
        reserve_job.shard, row(job, reserve_job.priority, 0, fastq.now_ms(), reserve_job.queue, reserve_job.group_key,
                               reserve_job.task, '{}'::json, reserve_job.meta)::fastq.a_job, null, true);
    end if;
  end if;
  perform fastq.check_ties(reserve_job.shard, array[fastq.tie_of(reserve_job.queue, reserve_job.group_key, reserve_job.meta)]);
  return next;
end $$;
revoke execute on function fastq.reserve_job(
  int4, float8, float8, timestamptz, text, int2, text, text, json, json, text, text, text) from public;

-- Reserve a job from any language, inside the caller's transaction; returns its id, for fastq.commit. With a `unique_key` that
-- another job holds it returns that job's id, and nothing is reserved. `delay` counts from the commit. An ordered job has its
-- place from now on.
create or replace function fastq.reserve(
  task         text,
  payload      json        default '{}',
  expires      interval    default interval '1 minute',
  queue        text        default 'default',
  priority     int         default 4,
  delay        interval    default null,
  run_at       timestamptz default null,
  group_key    text        default '',
  headers      json        default null,
  unique_key   text        default null,
  unique_until text        default 'finished',
  ordered      boolean     default false,
  on_dead      text        default 'skip'
) returns int8 language plpgsql as $$
declare
  tie text := fastq.tie_of(reserve.queue, reserve.group_key, reserve.unique_key, reserve.ordered);
begin
  perform fastq.check_payload('fastq.reserve', reserve.payload);
  perform fastq.due_at('fastq.reserve', reserve.delay, reserve.run_at);
  if reserve.expires is null or reserve.expires <= interval '0' or reserve.expires > interval '36600 days' then
    raise exception 'fastq.reserve: expires must be a time greater than 0, of at most 100 years'
      using errcode = 'invalid_parameter_value';
  end if;
  return (
    select r.job
    from fastq.reserve_job(
      coalesce(fastq.shard_of(tie, fastq.keyed_shards()), fastq.any_shard()), extract(epoch from reserve.expires)::float8, extract(epoch from reserve.delay)::float8, reserve.run_at, reserve.queue,
      reserve.priority::int2, reserve.group_key, reserve.task, reserve.payload,
      fastq.new_meta('fastq.reserve', reserve.unique_key, reserve.unique_until, reserve.headers, reserve.ordered, reserve.on_dead),
      reserve.unique_key, reserve.unique_until) r);
end $$;

-- Put a reserved job into line, or let it wait for its own time: 'committed', 'before' when that was done before, or 'gone'
-- when its time is over, or it was abandoned or deleted.
-- An ordered job waits in its line, unless it is the head already.
-- With the owner's rights, because producers may not take rows away; it touches reserved jobs only.
create or replace function fastq.commit_reserved(job int8) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment constant timestamptz := clock_timestamp();
  s      int4;
  g      record;
  due    timestamptz;
begin
  for s in select * from fastq.all_shards() loop
    -- Who expires or commits it at this moment is waited for; then it is gone.
    delete from fastq.scheduled w
    where w.shard = s and w.id = commit_reserved.job and w.reason = 'reserved' and w.run_at > moment
    returning w.priority, w.attempt, w.enqueued_ms, w.queue, w.group_key, w.task, w.payload, w.meta, w.commit_delay, w.commit_at
    into g;
    if found then
      insert into fastq.committed (shard, id) values (s, commit_reserved.job);
      due := coalesce(g.commit_at, moment + g.commit_delay);
      if fastq.ordered_of(g.meta) is not null then  -- whoever is just bringing its place up is waited for
        update fastq.line l set reserved = false, run_at = due, payload = g.payload
        where l.shard = s and l.queue = g.queue and l.group_key = g.group_key and l.pos = commit_reserved.job;
        if found then
          return 'committed';
        end if;
      end if;
      perform fastq.put_job(s, row(commit_reserved.job, g.priority, g.attempt, g.enqueued_ms, g.queue, g.group_key, g.task,
                                   g.payload, g.meta)::fastq.a_job, due, commit_reserved.job);
      return 'committed';
    end if;
    if exists (select from fastq.committed c where c.shard = s and c.id = commit_reserved.job) then
      return 'before';
    end if;
  end loop;
  return 'gone';
end $$;
revoke execute on function fastq.commit_reserved(int8) from public;

-- Put a reserved job into line; false when it was committed before. An error says that it is gone.
create or replace function fastq.commit(job int8) returns boolean language plpgsql as $$
declare
  answer text := fastq.commit_reserved(commit.job);
begin
  if answer = 'gone' then
    raise exception 'fastq.commit: reservation % is gone: it expired, or was abandoned or deleted; its job is not enqueued',
      commit.job using errcode = 'no_data_found';
  end if;
  return answer = 'committed';
end $$;

-- Delete a reserved job, and free its key; false when there is no such reservation (any more).
create or replace function fastq.abandon(job int8) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  s int4;
begin
  for s in select * from fastq.all_shards() loop
    delete from fastq.scheduled w where w.shard = s and w.id = abandon.job and w.reason = 'reserved';
    if found then
      with mine as materialized (
        select k.key from fastq.unique_key k where k.shard = s and k.job = abandon.job for update skip locked
      )
      delete from fastq.unique_key k using mine m where k.shard = s and k.key = m.key;
      perform fastq.leave_lines(s, array[abandon.job]);
      return true;
    end if;
  end loop;
  return false;
end $$;
revoke execute on function fastq.abandon(int8) from public;
