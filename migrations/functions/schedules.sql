-- Schedules: for how long they last, and those that are made at run time.

-- For how long a schedule goes on that no worker declares: a week, or so many seconds as the setting schedules_last_s says.
-- Not less than two minutes: workers declare their schedules every 20 seconds.
create or replace function fastq.schedules_last() returns interval language sql stable as $$
  select greatest(120, coalesce((
    select case when s.value::text ~ '^\d{1,9}$' then s.value::text::float8 end
    from fastq.setting s where s.name = 'schedules_last_s'
  ), 604800)) * interval '1 second'
$$;

-- Make a schedule, or change one that was made so: jobs of `task` with these arguments at the times of a cron expression. The
-- leader works out its first occurrence; what it cannot read it says in its log, and `fastq doctor` does.
create or replace function fastq.set_schedule(
  name text, expression text, task text, args json default '{}', tz text default 'UTC', queue text default 'default',
  priority int default 4, catch_up text default 'skip'
) returns void language plpgsql as $$
begin
  if json_typeof(args) <> 'object' then
    raise exception 'fastq.set_schedule: args must be a json object, not %', left(args::text, 80)
      using errcode = 'invalid_parameter_value';
  end if;
  if catch_up not in ('skip', 'one', 'all') or priority not between 0 and 9 then
    raise exception 'fastq.set_schedule: catch_up must be skip, one or all, priority 0 to 9, not % and %', catch_up, priority
      using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.put_schedule(name, '1970-01-01 00:00+00', json_build_object(
    'expression', expression, 'tz', tz, 'task', task, 'queue', queue, 'priority', priority, 'catch_up', catch_up, 'args', args));
end $$;

-- Write a schedule that no app declares. Where its times stay the same, its next occurrence does.
create or replace function fastq.put_schedule(name text, next_at timestamptz, spec json) returns void language plpgsql as $$
declare
  owner text;
begin
  insert into fastq.cron as c (name, next_at, spec) values (put_schedule.name, put_schedule.next_at, put_schedule.spec)
  on conflict on constraint cron_pkey do update set
    next_at = case when (c.spec ->> 'expression', c.spec ->> 'tz') is distinct from (excluded.spec ->> 'expression', excluded.spec ->> 'tz')
                   then excluded.next_at else c.next_at end,
    spec = excluded.spec, owner = ''
  where c.owner = '' or c.seen_at < now() - interval '1 minute';
  if not found then
    select c.owner into owner from fastq.cron c where c.name = put_schedule.name;
    raise exception 'workers of % declare the schedule %: change it in the code, or choose another name', owner, put_schedule.name
      using errcode = 'object_in_use';
  end if;
  perform pg_notify('fastq', '');  -- the leader looks for it
end $$;
