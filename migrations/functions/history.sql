-- Buckets of times, added up.

create or replace function fastq.add_up(a int8[], b int8[]) returns int8[] language sql immutable parallel safe as $$
  select coalesce(array_agg(coalesce(u.x, 0) + coalesce(u.y, 0) order by u.n), '{}')
  from unnest(a, b) with ordinality as u(x, y, n)
$$;
