-- A lease holds its jobs packed as one json array; here they become rows again: those that are not done yet, one row each. `ord`
-- is the job's place in the batch, from 0; its group is its own, or the lease's where the whole batch is of one. What no table
-- would take is set right, as migration 9 does it: a claim may have taken it before there were rules.
drop function if exists fastq.unpack(bytea, int2[]);
create or replace function fastq.unpack(batch bytea, done int2[], lease_group text default null)
returns table (ord int2, pos int8, id int8, task text, attempt int2, enqueued_ms int8, payload json, meta json, group_key text)
language sql stable as $$
  -- Only json_array_elements is used on payloads: every other accessor refuses \u0000 and lone surrogates in them.
  select (j.n - 1)::int2, j.f[1]::int8, coalesce(nullif(j.f[6], 'null')::int8, j.f[1]::int8), j.f[2]::json #>> '{}',
         greatest(j.f[3]::int2, 0::int2), least(greatest(j.f[4]::int8, 0), 253402214399999), j.f[5]::json,
         case when j.f[7] like '{%' then j.f[7]::json end, coalesce(j.f[8]::json #>> '{}', lease_group)
  from (
    select e.n, (select array_agg(x.v::text order by x.k) from json_array_elements(e.job) with ordinality as x(v, k)) as f
    from json_array_elements(convert_from(batch, 'UTF8')::json) with ordinality as e(job, n)
    where (e.n - 1)::int2 <> all (done)
  ) j
$$;
