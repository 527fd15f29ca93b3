-- Which shard a job stands in. What is tied to nothing may stand in any; jobs that share a unique key or an ordered line have to
-- be together, in the shard that the hash of their tie names.

create or replace function fastq.shards() returns int language sql stable as
$$ select s.value::text::int from fastq.setting s where s.name = 'shards' $$;

-- All of them, one after the other.
create or replace function fastq.all_shards() returns setof int language sql stable rows 1 as
$$ select generate_series(0, fastq.shards() - 1) $$;

-- Those that can be asked: all, but on a cluster.
create or replace function fastq.shards_there() returns setof int language sql stable rows 1 as
$$ select * from fastq.all_shards() $$;

-- Over how many shards tied jobs are spread; it follows the number of shards when no job is tied, see fastq.spread_ties.
create or replace function fastq.keyed_shards() returns int language sql stable as
$$ select coalesce((select s.value::text::int from fastq.setting s where s.name = 'keyed_shards'), 1) $$;

-- A shard for what is tied to nothing: one session stays with one for a second, so that its jobs stand together.
create or replace function fastq.any_shard() returns int language plpgsql volatile as $$
declare
  n constant int := fastq.shards();
begin
  return case when n > 1 then (pg_backend_pid() + extract(epoch from clock_timestamp())::int8) % n else 0 end;
end $$;

-- What ties a job to others, null: nothing. An ordered job stands with its line, whatever its key is.
create or replace function fastq.tie_of(queue text, group_key text, key text, ordered boolean) returns text
language sql immutable as $$ select case when ordered then queue || E'\n' || group_key else nullif(key, '') end $$;

create or replace function fastq.tie_of(queue text, group_key text, meta json) returns text language sql immutable as $$
  select fastq.tie_of(queue, group_key, fastq.unique_of(meta) ->> 0, fastq.ordered_of(meta) is not null)
$$;

-- The shard of a tie, as producers reckon it: the first 28 bits of the SHA-256 of its UTF-8, modulo the number of shards.
create or replace function fastq.shard_of(tie text, keyed int) returns int language sql immutable as $$
  select case when keyed > 1
              then ('x' || substr(encode(sha256(convert_to(tie, 'UTF8')), 'hex'), 1, 7))::bit(28)::int % keyed
              when tie is not null then 0 end
$$;

-- Where a job belongs that leaves shard `s` to be put into line again: where it was, unless its tie says otherwise by now.
create or replace function fastq.home_of(s int4, queue text, group_key text, meta json) returns int language sql stable as $$
  select coalesce(fastq.shard_of(fastq.tie_of(queue, group_key, meta), fastq.keyed_shards()), s)
$$;

-- Whether a kept job is retried by itself: it is ordered, or has to go to another shard.
create or replace function fastq.goes_alone(s int4, queue text, group_key text, meta json) returns boolean language sql stable as $$
  select meta is not null and (fastq.ordered_of(meta) is not null or fastq.home_of(s, queue, group_key, meta) <> s)
$$;

-- Refuse jobs that were put into another shard than their ties': their producer does not know yet how many shards there are. To
-- be asked after they were put: whoever spreads ties waits for those who hold some, and is seen by all others.
create or replace function fastq.check_ties(shard int4, ties text[]) returns void language plpgsql volatile as $$
declare
  keyed constant int := fastq.keyed_shards();
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform from fastq.setting s where s.name = 'shards' for share;  -- fails if ties were spread since our snapshot
  end if;
  if exists (select from unnest(ties) t where fastq.shard_of(t, keyed) <> check_ties.shard) then
    raise exception 'the number of shards has changed: try again' using errcode = 'FQ001';
  end if;
end $$;

-- Spread tied jobs over all shards from now on, if there are none at the moment: nobody would find those that are elsewhere.
-- True if this call did. With the owner's rights, because workers may not change settings.
create or replace function fastq.spread_ties() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
begin
  if fastq.keyed_shards() = fastq.shards() or exists (select 1 from fastq.unique_key) or exists (select 1 from fastq.line)
    or exists (select 1 from fastq.head) then
    return false;
  end if;
  lock table fastq.unique_key, fastq.line, fastq.head in share row exclusive mode;
  if exists (select 1 from fastq.unique_key) or exists (select 1 from fastq.line) or exists (select 1 from fastq.head) then
    return false;
  end if;
  insert into fastq.setting as s (name, value) values ('keyed_shards', to_json(fastq.shards()))
  on conflict (name) do update set value = excluded.value;
  update fastq.setting s set value = s.value where s.name = 'shards';  -- for those with an old snapshot: see check_ties
  return true;
exception when lock_not_available then
  return false;
end $$;
revoke execute on function fastq.spread_ties() from public;

create or replace function fastq.at_ms(ms int8) returns timestamptz language sql immutable as
$$ select timestamptz 'epoch' + ms * interval '1 millisecond' $$;
