-- The functions of people and producers on a cluster: each asks the shards, by at_<name>, which `fastq migrate --citus` has made.

create or replace function fastq.find(job int8) returns setof fastq.found language plpgsql as $$
declare
  s int4;
begin
  for s in select * from fastq.all_shards() loop
    return query select * from fastq.at_find(s, job);
    if found then return; end if;
  end loop;
end $$;

create or replace function fastq.show(job int8) returns table (
  id int8, state text, queue text, priority int2, group_key text, task text, attempt int2, enqueued_at timestamptz,
  run_at timestamptz, claimed_at timestamptz, finished_at timestamptz, expires_at timestamptz, worker int8, payload text,
  result text, meta text, cancelling boolean, ran_ms int8, progress float4, note text, checkpoint text
) language plpgsql as $$
declare
  s int4;
begin
  for s in select * from fastq.all_shards() loop
    return query select * from fastq.at_show(s, job);
    if found then return; end if;
  end loop;
end $$;

create or replace function fastq.delete(job int8) returns text language plpgsql as $$
declare
  s      int4;
  answer text;
begin
  for s in select * from fastq.all_shards() loop
    select x into answer from fastq.at_delete(s, job) x;
    if answer is not null then return answer; end if;
  end loop;
  return null;
end $$;

create or replace function fastq.cancel(job int8) returns text language plpgsql as $$
declare
  s      int4;
  answer text;
begin
  for s in select * from fastq.all_shards() loop
    select x into answer from fastq.at_cancel(s, job) x;
    if answer is not null then
      perform pg_notify('fastq', 'cancel') where answer = 'cancelling';
      return answer;
    end if;
  end loop;
  return null;
end $$;

create or replace function fastq.retry(job int8) returns boolean language plpgsql as $$
declare
  s    int4;
  done boolean;
begin
  for s in select * from fastq.all_shards() loop
    select x into done from fastq.at_retry(s, job) x;
    if done then
      perform pg_notify('fastq', s::text);
      return true;
    end if;
  end loop;
  return false;
end $$;

create or replace function fastq.edit(
  job int8, queue text default null, priority int default null, args json default null, run_at timestamptz default null
) returns boolean language plpgsql as $$
declare
  s    int4;
  done boolean;
begin
  for s in select * from fastq.all_shards() loop
    select x into done from fastq.at_edit(s, job, queue, priority, args, run_at) x;
    if done then
      perform pg_notify('fastq', s::text);
      return true;
    end if;
  end loop;
  return false;
end $$;

create or replace function fastq.delete_jobs(
  states text[] default null, queue text default null, task text default null, error text default null, most int8 default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  total int8 := 0;
begin
  for s in select * from fastq.all_shards() loop
    select total + x into total from fastq.at_delete_jobs(s, states, queue, task, error, most - total) x;
  end loop;
  return total;
end $$;

create or replace function fastq.cancel_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most   int8   default null, out cancelled int8, out cancelling int8
) language plpgsql as $$
declare
  s int4;
  r record;
begin
  cancelled := 0;
  cancelling := 0;
  for s in select * from fastq.all_shards() loop
    select * into r from fastq.at_cancel_jobs(s, states, queue, task, error, most - cancelled - cancelling);
    cancelled := cancelled + r.cancelled;
    cancelling := cancelling + r.cancelling;
  end loop;
  perform pg_notify('fastq', 'cancel') where cancelling > 0;
end $$;

create or replace function fastq.retry_jobs(
  states text[] default null, queue text default null, task text default null, error text default null, most int8 default null
) returns int8 language plpgsql as $$
declare
  s     int4;
  total int8 := 0;
begin
  for s in select * from fastq.all_shards() loop
    select total + x into total from fastq.at_retry_jobs(s, states, queue, task, error, most - total) x;
  end loop;
  perform pg_notify('fastq', '') where total > 0;
  return total;
end $$;

create or replace function fastq.edit_jobs(
  states text[] default null, queue text default null, task text default null, error text default null,
  most int8 default null, to_queue text default null, to_priority int default null, now boolean default false
) returns int8 language plpgsql as $$
declare
  s     int4;
  total int8 := 0;
begin
  for s in select * from fastq.all_shards() loop
    select total + x into total from fastq.at_edit_jobs(s, states, queue, task, error, most - total, to_queue, to_priority, now) x;
  end loop;
  perform pg_notify('fastq', '') where total > 0;
  return total;
end $$;

create or replace function fastq.commit_reserved(job int8) returns text language plpgsql as $$
declare
  s      int4;
  answer text;
begin
  for s in select * from fastq.all_shards() loop
    select x into answer from fastq.at_commit_reserved(s, job) x;
    if answer <> 'gone' then
      perform pg_notify('fastq', s::text);
      return answer;
    end if;
  end loop;
  return 'gone';
end $$;

create or replace function fastq.abandon(job int8) returns boolean language plpgsql as $$
declare
  s    int4;
  done boolean;
begin
  for s in select * from fastq.all_shards() loop
    select x into done from fastq.at_abandon(s, job) x;
    if done then return true; end if;
  end loop;
  return false;
end $$;

create or replace function fastq.enqueue(
  task         text,
  payload      json        default '{}',
  queue        text        default 'default',
  priority     int         default 4,
  delay        interval    default null,
  run_at       timestamptz default null,
  group_key    text        default '',
  headers      json        default null,
  unique_key   text        default null,
  unique_until text        default 'finished',
  ordered      boolean     default false,
  on_dead      text        default 'skip',
  expires      interval    default null
) returns int8 language plpgsql as $$
declare
  tie constant text := fastq.tie_of(queue, group_key, unique_key, ordered);
  s   constant int4 := coalesce(fastq.shard_of(tie, fastq.keyed_shards()), fastq.any_shard());
  job int8;
begin
  perform pg_notify('fastq', s::text);
  select x into job from fastq.at_enqueue(s, task, payload, queue, priority, delay, run_at, group_key, headers, unique_key, unique_until,
                                          ordered, on_dead, expires) x;
  return job;
end $$;

create or replace function fastq.enqueue_many(
  task         text,
  payloads     json,
  queue        text   default 'default',
  priority     int    default 4,
  unique_keys  text[] default null,
  unique_until text   default 'finished'
) returns int8 language plpgsql as $$
declare
  s   constant int4 := fastq.any_shard();
  put int8;
begin
  if unique_keys is not null then
    raise exception 'fastq.enqueue_many: on a cluster unique jobs are enqueued one by one, with fastq.enqueue'
      using errcode = 'feature_not_supported';
  end if;
  perform pg_notify('fastq', s::text);
  select x into put from fastq.at_enqueue_many(s, task, payloads, queue, priority, unique_keys, unique_until) x;
  return put;
end $$;

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
  tie constant text := fastq.tie_of(queue, group_key, unique_key, ordered);
  s   constant int4 := coalesce(fastq.shard_of(tie, fastq.keyed_shards()), fastq.any_shard());
  job int8;
begin
  select x into job from fastq.at_reserve(s, task, payload, expires, queue, priority, delay, run_at, group_key, headers, unique_key,
                                          unique_until, ordered, on_dead) x;
  return job;
end $$;

create or replace function fastq.sweep_cancellations(most int default 100) returns int language plpgsql as $$
declare
  s     int4;
  swept int := 0;
begin
  for s in select distinct c.shard from fastq.cancellation c loop
    select swept + x into swept from fastq.at_sweep_cancellations(s, most) x;
  end loop;
  return swept;
end $$;

-- Those whose node answers, which is asked for its first one.
create or replace function fastq.shards_there() returns setof int language plpgsql stable as $$
declare
  node record;
begin
  for node in
    select array_agg(s.shard order by s.shard) as shards
    from fastq.all_shards() as s(shard)
    join pg_dist_placement p on p.shardid = get_shard_id_for_distribution_column('fastq.worker', s.shard)
    group by p.groupid
  loop
    begin
      perform * from fastq.at_find(node.shards[1], 0);
    exception when connection_exception or connection_does_not_exist or connection_failure or admin_shutdown or crash_shutdown
      or cannot_connect_now or sqlclient_unable_to_establish_sqlconnection then
      continue;
    end;
    return query select unnest(node.shards);
  end loop;
end $$;

-- What people see: of each shard that is there what it says itself.

create or replace function fastq.survey_jobs(
  p_states text[], p_queue text, p_task text, p_error text, p_limit int8, p_scan int8
) returns table (
  id int8, state text, queue text, priority int2, group_key text, task text, attempt int2, enqueued_at timestamptz,
  run_at timestamptz, claimed_at timestamptz, finished_at timestamptz, expires_at timestamptz, worker int8, payload text,
  result text, meta text, cancelling bool, ran_ms int8, progress float4, note text, checkpoint text
) language plpgsql as $$
declare
  s      int4;
  wanted int8 := p_limit;
  n      int8;
begin
  for s in select * from fastq.shards_there() loop
    exit when wanted <= 0;
    return query select * from fastq.at_survey_jobs(s, p_states, p_queue, p_task, p_error, wanted, p_scan);
    get diagnostics n = row_count;
    wanted := wanted - n;
  end loop;
end $$;

create or replace function fastq.survey_count(p_states text[], p_queue text, p_task text, p_error text, p_cap int8)
returns table (jobs int8, more bool) language plpgsql as $$
declare
  s int4;
  r record;
begin
  jobs := 0;
  more := false;
  for s in select * from fastq.shards_there() loop
    select * into r from fastq.at_survey_count(s, p_states, p_queue, p_task, p_error, p_cap);
    jobs := jobs + r.jobs;
    more := more or r.more;
  end loop;
  return next;
end $$;

create or replace function fastq.survey_waiting(p_cap int4, p_shards int4)
returns table (state text, queue text, jobs int8, capped bool) language plpgsql as $$
declare
  s int4;
begin
  for s in select * from fastq.shards_there() loop
    return query select * from fastq.at_survey_waiting(s, p_cap, p_shards);
  end loop;
end $$;

create or replace function fastq.survey_running() returns table (queue text, jobs int8) language plpgsql as $$
declare
  s int4;
begin
  for s in select * from fastq.shards_there() loop
    return query select * from fastq.at_survey_running(s);
  end loop;
end $$;

create or replace function fastq.survey_held() returns table (worker int8, since timestamptz, jobs int8) language plpgsql as $$
declare
  s int4;
begin
  for s in select * from fastq.shards_there() loop
    return query select * from fastq.at_survey_held(s);
  end loop;
end $$;

create or replace function fastq.survey_failures(p_cap int8) returns table (jobs int8) language plpgsql as $$
declare
  s int4;
  n int8;
begin
  jobs := 0;
  for s in select * from fastq.shards_there() loop
    select x.jobs into n from fastq.at_survey_failures(s, p_cap) x;
    jobs := jobs + n;
  end loop;
  return next;
end $$;
