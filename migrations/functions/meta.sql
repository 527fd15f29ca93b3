-- What a job carries beside its columns: its unique key, its line, headers, errors. Text functions because `->` refuses
-- json with \u0000 in it, which somebody else may have put there.

-- The rarer things about a job, as workers read them.
create or replace function fastq.meta_of(key text, until text, headers json) returns json language sql stable as $$
  select case
    when key is null and headers is null then null
    when key is null then json_build_object('headers', headers)
    when headers is null then json_build_object('unique', json_build_array(key, until))
    else json_build_object('unique', json_build_array(key, until), 'headers', headers)
  end
$$;

-- A job's meta with one thing more; of two of one name the later one counts.
create or replace function fastq.meta_with(meta json, name text, value json) returns json language sql immutable as $$
  select (case when meta is null or meta::text ~ '^\s*\{\s*\}\s*$' then '{' else rtrim(left(rtrim(meta::text), -1)) || ',' end
          || to_json(name)::text || ':' || value::text || '}')::json
$$;

-- What a job's meta says of its key: [key, until]; null without one, or when that is no key. A header with \u0000 makes `->`
-- fail; then the key stands first, because nothing has written the meta anew.
create or replace function fastq.unique_of(meta json) returns json language plpgsql immutable as $$
declare
  found json;
begin
  if meta is null or strpos(meta::text, '"unique"') = 0 then
    return null;
  end if;
  found := meta -> 'unique';
  if found ->> 0 is null or found ->> 1 not in ('finished', 'started') and (found ->> 1)::interval < interval '0' then
    return null;
  end if;
  return case when json_typeof(found) = 'array' and found ->> 1 is not null then found end;
exception when invalid_datetime_format or datetime_field_overflow then
  return null;
when untranslatable_character or invalid_text_representation then
  return substring(meta::text from '^\s*\{\s*"unique"\s*:\s*(\["(?:[^"\\]|\\.)*",\s*(?:"[^"]*"|[0-9.]+)\])')::json;
end $$;

-- Whether a job is ordered, and what its line does when it fails for good: skip or block; null where it is not.
create or replace function fastq.ordered_of(meta json) returns text language plpgsql immutable as $$
begin
  if meta is null or strpos(meta::text, '"ordered"') = 0 then
    return null;
  end if;
  return meta ->> 'ordered';
exception when untranslatable_character or invalid_text_representation then  -- a header with \u0000
  return substring(meta::text from '"ordered"\s*:\s*"(skip|block)"');
end $$;

-- Whether a text occurs in what is kept of a job's errors: type, message or traceback. A header with \u0000 makes `->`
-- fail; then everything behind the word counts as errors.
create or replace function fastq.has_error(meta json, needle text) returns boolean language plpgsql immutable as $$
declare
  written text := substr(to_json(needle)::text, 2, length(to_json(needle)::text) - 2);
begin
  if meta is null or strpos(meta::text, written) = 0 then
    return false;
  end if;
  return coalesce(strpos((meta -> 'errors')::text, written) > 0, false);
exception when untranslatable_character or invalid_text_representation then
  return strpos(substr(meta::text, strpos(meta::text, '"errors"')), written) > 0 and strpos(meta::text, '"errors"') > 0;
end $$;

-- What a job keeps of its past when its attempts start again: everything but the crashes, and the time it had. Where jsonb
-- refuses a header with \u0000 they are cut out: the crashes stand last, the time is a number, which no header is.
create or replace function fastq.meta_anew(meta json) returns json language plpgsql immutable as $$
begin
  if strpos(meta::text, '"crashes"') = 0 and strpos(meta::text, '"expires"') = 0 then
    return meta;
  end if;
  return nullif(meta::jsonb - 'crashes' - 'expires', '{}');
exception when untranslatable_character or invalid_text_representation then
  return regexp_replace(regexp_replace(meta::text, ',?\s*"crashes"\s*:\s*\d+\s*\}\s*$', '}'),
                        ',\s*"expires"\s*:\s*[0-9.eE+-]+\s*([,}])', '\1')::json;
end $$;
