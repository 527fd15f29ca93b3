-- Whatever stands in a row was put there by a stranger. What workers, stewards and people who look could not take is refused
-- at the door: attempts and times out of range, and a `meta` that is no object, or that says of a new job what only workers
-- write. What is there already is set right.

-- Times are those that every client can read in every time zone. Milliseconds 253402214400000 are 9999-12-31 as well.
create function fastq.is_time(t timestamptz) returns boolean language sql immutable as
$$ select t > timestamptz '0001-01-02 00:00:00+00' and t < timestamptz '9999-12-31 00:00:00+00' $$;

-- Whether a new job may have this meta: an object of at most 64 kB, nested 100 levels at most (parsers end at some 250), with
-- nothing in it that workers write. A header with \u0000 makes `->` fail: beside one of these words it is refused.
-- A constraint names these two functions, so they stand with the tables.
create function fastq.is_new_meta(meta json) returns boolean language plpgsql immutable as $$
declare
  brackets text;
begin
  if json_typeof(meta) <> 'object' or octet_length(meta::text) > 65536 then
    return false;
  end if;
  if strpos(meta::text, '"crashes"') > 0 or strpos(meta::text, '"errors"') > 0 or strpos(meta::text, '"checkpoint"') > 0 then
    if meta -> 'crashes' is not null or meta -> 'errors' is not null or meta -> 'checkpoint' is not null then
      return false;
    end if;
  end if;
  if length(meta::text) - length(translate(meta::text, '[{', '')) <= 100 then
    return true;
  end if;
  brackets := regexp_replace(meta::text, '"(?:[^"\\]|\\.)*"|[^]{}["]+', '', 'g');
  for level in 1 .. 100 loop
    brackets := replace(replace(brackets, '[]', ''), '{}', '');
    exit when brackets = '';
  end loop;
  return brackets = '';
exception when untranslatable_character or invalid_text_representation then
  return false;
end $$;

update fastq.scheduled set run_at = least(greatest(run_at, '0001-01-03 00:00:00+00'), '9999-12-30 00:00:00+00')
where not fastq.is_time(run_at);
update fastq.line set run_at = least(greatest(run_at, '0001-01-03 00:00:00+00'), '9999-12-30 00:00:00+00')
where not fastq.is_time(run_at);
update fastq.scheduled
set commit_at = least(greatest(commit_at, '0001-01-03 00:00:00+00'), '9999-12-30 00:00:00+00'),
    commit_delay = least(greatest(commit_delay, interval '0'), interval '36600 days')
where not fastq.is_time(commit_at) or commit_delay not between interval '0' and interval '36600 days';
do $$
declare
  t text;
begin
  foreach t in array array['ready', 'scheduled', 'line', 'finished'] loop
    execute format('update fastq.%I set enqueued_ms = least(greatest(enqueued_ms, 0), 253402214399999)
      where enqueued_ms not between 0 and 253402214399999', t);
    execute format('update fastq.%I set meta = null where json_typeof(meta) <> ''object''', t);
  end loop;
  foreach t in array array['ready', 'scheduled', 'finished'] loop
    execute format('update fastq.%I set attempt = 0 where attempt < 0', t);
  end loop;
end $$;

-- A job that has an id of its own came back from a worker, which has written its meta.
-- Short metas without the words are let through without a call: a stream of jobs with headers pays 0.3 µs of 2.4 for each.
alter table fastq.ready add constraint ready_fits check (
  attempt >= 0 and enqueued_ms between 0 and 253402214399999
  and case when meta is null then true
           when json_typeof(meta) <> 'object' then false
           when id is not null then true
           when octet_length(meta::text) <= 200 and strpos(meta::text, '"crashes"') = 0 and strpos(meta::text, '"errors"') = 0
                and strpos(meta::text, '"checkpoint"') = 0 then true
           else fastq.is_new_meta(meta)
      end);
alter table fastq.scheduled add constraint scheduled_fits check (
  fastq.is_time(run_at) and fastq.is_time(commit_at) is not false and attempt >= 0
  and commit_delay between interval '0' and interval '36600 days' is not false
  and enqueued_ms between 0 and 253402214399999 and (meta is null or json_typeof(meta) = 'object'));
alter table fastq.line add constraint line_fits check (
  fastq.is_time(run_at) is not false and enqueued_ms between 0 and 253402214399999
  and (meta is null or json_typeof(meta) = 'object'));
alter table fastq.finished add constraint finished_fits check (
  attempt >= 0 and enqueued_ms between 0 and 253402214399999 and (meta is null or json_typeof(meta) = 'object'));
