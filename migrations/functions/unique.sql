-- Unique jobs: at most one job holds a key. Whoever enqueues with a key that is held gets the holder's id.
-- Lock order: the job's row (or its lease) before its key; several keys in the order of their texts.

-- Refuse what cannot be a key, or cannot say until when it is held.
create or replace function fastq.check_unique(caller text, key text, until text) returns void language plpgsql as $$
begin
  if key = '' or length(key) > 255 or key ~ '[[:cntrl:]]' then
    raise exception '%: unique_key must be 1 to 255 printable characters', caller using errcode = 'invalid_parameter_value';
  end if;
  if key is not null and (until is null or (until not in ('finished', 'started')
                                            and until::interval not between interval '1 microsecond' and interval '36600 days')) then
    raise exception '%: unique_until must be finished, started, or a time of at most 100 years, not %', caller, until
      using errcode = 'invalid_parameter_value';
  end if;
exception when invalid_datetime_format or datetime_field_overflow then
  raise exception '%: unique_until must be finished, started, or a time of at most 100 years, not %', caller, until
    using errcode = 'invalid_parameter_value';
end $$;

-- Take keys for jobs: one row for each, with the job that holds its key now, which is the job itself where the key was
-- free, its time was over, or it held it before. The arrays are parallel; of equal keys the first one counts.
-- A key that an open transaction is just taking or giving back is waited for; a key that is held is not locked, so that
-- nobody who ends a job waits for a producer's transaction.
-- With the owner's rights, because producers may neither read keys nor change them.
create or replace function fastq.hold_keys(
  shard int4, jobs int8[], keys text[], untils text[], queues text[], priorities int2[], groups text[]
) returns table (job int8, holder int8) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  moment timestamptz;
  w      record;
begin
  for w in
    with asked as materialized (
      select a.job, a.key, a.queue, a.priority, a.group_key, a.n,
             case when a.until in ('finished', 'started') then a.until else 'time' end as held_until,
             clock_timestamp() + case when a.until not in ('finished', 'started') then a.until::interval end as expires_at
      from unnest(jobs, keys, untils, queues, priorities, groups) with ordinality
           as a(job, key, until, queue, priority, group_key, n)
    ),
    put as (
      insert into fastq.unique_key (shard, key, job, held_until, expires_at, queue, priority, group_key)
      select hold_keys.shard, a.key, a.job, a.held_until, a.expires_at, a.queue, a.priority, a.group_key
      from asked a
      order by a.key collate "C", a.n
      on conflict (shard, key) do nothing
      returning job
    )
    select a.job, a.key, a.held_until, a.expires_at, a.queue, a.priority, a.group_key, p.job is not null as won
    from asked a left join put p on p.job = a.job
    order by a.key collate "C", a.n
  loop
    job := w.job;
    holder := case when w.won then w.job end;
    for turn in 1 .. 1000 loop
      exit when holder is not null;
      moment := clock_timestamp();
      update fastq.unique_key k
      set job = w.job, held_until = w.held_until, expires_at = w.expires_at, queue = w.queue, priority = w.priority,
          group_key = w.group_key, taken_at = moment
      where k.shard = hold_keys.shard and k.key = w.key and k.expires_at <= moment
      returning k.job into holder;
      exit when found;
      select k.job into holder from fastq.unique_key k
      where k.shard = hold_keys.shard and k.key = w.key and (k.expires_at is null or k.expires_at > moment);
      exit when found;
      insert into fastq.unique_key as k (shard, key, job, held_until, expires_at, queue, priority, group_key)
      values (hold_keys.shard, w.key, w.job, w.held_until, w.expires_at, w.queue, w.priority, w.group_key)
      on conflict (shard, key) do nothing
      returning k.job into holder;
    end loop;
    if holder is null then
      raise exception 'the unique key % changes hands too fast, try again', w.key using errcode = 'lock_not_available';
    end if;
    return next;
  end loop;
end $$;
revoke execute on function fastq.hold_keys(int4, int8[], text[], text[], text[], int2[], text[]) from public;

-- What is to be done when jobs have left for good: their keys are free, but those that are held for a time; the lines whose
-- heads they were go on. A key that somebody else is at is left to them.
create or replace function fastq.ended(shard int4, jobs int8[]) returns void language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
#variable_conflict use_column
begin
  if jobs is null then
    return;
  end if;
  if exists (select from fastq.head h where h.shard = ended.shard) then
    perform fastq.leave_lines(ended.shard, ended.jobs);
  end if;
  if not exists (select from fastq.unique_key k where k.shard = ended.shard) then
    return;
  end if;
  with mine as materialized (  -- one probe for each job, whatever the planner believes
    select h.place from unnest(ended.jobs) as j(id) cross join lateral (
      select k.ctid as place from fastq.unique_key k
      where k.shard = ended.shard and k.job = j.id and k.held_until <> 'time'
      for update skip locked) h
  )
  delete from fastq.unique_key k where k.shard = ended.shard and k.ctid = any (array(select m.place from mine m));
end $$;
