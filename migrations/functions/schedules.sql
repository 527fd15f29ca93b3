-- For how long a schedule goes on that no worker declares: a week, or so many seconds as the setting schedules_last_s says.
-- Not less than two minutes: workers declare their schedules every 20 seconds.
create or replace function fastq.schedules_last() returns interval language sql stable as $$
  select greatest(120, coalesce((
    select case when s.value::text ~ '^\d{1,9}$' then s.value::text::float8 end
    from fastq.setting s where s.name = 'schedules_last_s'
  ), 604800)) * interval '1 second'
$$;
