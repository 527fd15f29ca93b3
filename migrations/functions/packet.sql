-- Jobs that are together in a packet, as rows again; and how one or some of them leave it.

-- The payloads of `jobs` jobs of a packet, from the one with the id `first` on, each with its place from 0. One that is not
-- there, because a stranger wrote the packet or deleted it, is null.
create or replace function fastq.payloads(s int4, packet int8, first int8, jobs int2)
returns table (n int2, payload json) language plpgsql stable rows 100 as $$
#variable_conflict use_column
begin
  return query
    select g.n::int2, coalesce(e.payload, 'null')
    from generate_series(0, payloads.jobs - 1) as g(n)
    left join (
      select e.payload, e.n - 1 + payloads.packet - payloads.first as n
      from fastq.packet p
      cross join lateral json_array_elements(convert_from(p.payloads, 'UTF8')::json) with ordinality as e(payload, n)
      where p.shard = s and p.pos = payloads.packet
    ) e on e.n = g.n;
exception when data_exception or program_limit_exceeded then
  return query select g.n::int2, 'null'::json from generate_series(0, payloads.jobs - 1) as g(n);
end $$;

-- The unfinished jobs of a lease. `ord` is a job's place in it, from 0.
create or replace function fastq.jobs_of(l fastq.lease)
returns table (ord int2, id int8, task text, attempt int2, enqueued_ms int8, payload json, meta json, group_key text)
language plpgsql stable rows 10 as $$
#variable_conflict use_column
begin
  if l.packet is null then
    return query select u.ord, u.id, u.task, u.attempt, u.enqueued_ms, u.payload, u.meta, u.group_key
                 from fastq.unpack(l.batch, l.done, l.group_key) u;
  else
    return query select p.n, l.first + p.n, l.task, 0::int2, least(greatest(l.enqueued_ms, 0), 253402214399999), p.payload,
                        l.meta, l.group_key
                 from fastq.payloads(l.shard, l.packet, l.first, l.jobs) p
                 where p.n <> all (l.done);
  end if;
end $$;

-- As jobs_of, for those who only look: a lease that nobody can take apart is one job named "?", not an error for everybody.
create or replace function fastq.try_jobs_of(l fastq.lease)
returns table (ord int2, id int8, task text, attempt int2, enqueued_ms int8, payload json, meta json, group_key text)
language plpgsql stable rows 10 as $$
begin
  return query select j.* from fastq.jobs_of(l) j;
exception when data_exception or program_limit_exceeded or syntax_error_or_access_rule_violation then
  return query select 0::int2, 0::int8, '?', 0::int2, 0::int8, to_json(encode(l.batch, 'escape')),
    json_build_object('unreadable', sqlerrm), l.group_key;
end $$;

-- How many jobs a lease has that are not finished.
create or replace function fastq.jobs_left(l fastq.lease) returns int4 language plpgsql stable as $$
begin
  return coalesce(l.jobs, json_array_length(convert_from(l.batch, 'UTF8')::json))
         - (select count(distinct d.ord) from unnest(l.done) as d(ord));
exception when data_exception or program_limit_exceeded then
  return 1;
end $$;

-- Part a row of ready before its job `at` (from 0) from the jobs behind it, which become a row of their own.
create or replace function fastq.part_ready(r fastq.ready, at int4) returns void language plpgsql as $$
begin
  if at between 1 and r.jobs - 1 then
    update fastq.ready w set jobs = at
    where w.segment = r.segment and w.shard = r.shard and w.queue = r.queue and w.priority = r.priority
      and w.group_key = r.group_key and w.pos = r.pos;
    insert into fastq.ready (segment, shard, priority, pos, id, jobs, packet, enqueued_ms, queue, group_key, task, meta)
    values (r.segment, r.shard, r.priority, r.pos + at, r.id + at, r.jobs - at, r.packet, r.enqueued_ms, r.queue, r.group_key,
            r.task, r.meta);
  end if;
end $$;

create or replace function fastq.part_scheduled(w fastq.scheduled, at int4) returns void language plpgsql as $$
begin
  if at between 1 and w.jobs - 1 then
    update fastq.scheduled x set jobs = at where x.shard = w.shard and x.id = w.id;
    insert into fastq.scheduled (shard, id, run_at, priority, jobs, packet, enqueued_ms, queue, group_key, task, meta)
    values (w.shard, w.id + at, w.run_at, w.priority, w.jobs - at, w.packet, w.enqueued_ms, w.queue, w.group_key, w.task, w.meta);
  end if;
end $$;

-- Let a waiting job have a row of its own, in the place it had: the jobs before it and behind it stay together. False: it
-- has left, and is to be looked for again.
create or replace function fastq.single_out(s int4, job int8, packet int8) returns boolean language plpgsql as $$
#variable_conflict use_column
declare
  r fastq.ready;
  w fastq.scheduled;
begin
  select q.* into r from fastq.ready q
  where q.shard = s and q.packet = single_out.packet and job - coalesce(q.id, q.pos) between 0 and q.jobs - 1
  for update;
  if found then
    perform fastq.part_ready(r, (job - coalesce(r.id, r.pos))::int4 + 1);
    r.jobs := job - coalesce(r.id, r.pos) + 1;
    perform fastq.part_ready(r, r.jobs - 1);
    update fastq.ready q set jobs = null, packet = null, payload = p.payload
    from fastq.payloads(s, single_out.packet, single_out.job, 1::int2) p
    where q.segment = r.segment and q.shard = s and q.queue = r.queue and q.priority = r.priority
      and q.group_key = r.group_key and q.pos = r.pos + r.jobs - 1;
    return true;
  end if;
  select q.* into w from fastq.scheduled q
  where q.shard = s and q.packet = single_out.packet and job - q.id between 0 and q.jobs - 1
  for update;
  if found then
    perform fastq.part_scheduled(w, (job - w.id)::int4 + 1);
    w.jobs := job - w.id + 1;
    perform fastq.part_scheduled(w, w.jobs - 1);
    update fastq.scheduled q set jobs = null, packet = null, payload = p.payload
    from fastq.payloads(s, single_out.packet, single_out.job, 1::int2) p
    where q.shard = s and q.id = job;
    return true;
  end if;
  return false;
end $$;

-- The jobs of one row that waits, each with its id.
create or replace function fastq.each(s int4, id int8, jobs int2, packet int8, payload json)
returns table (job int8, args json) language sql stable as $$
  select id, payload where packet is null
  union all
  select id + p.n, p.payload from fastq.payloads(s, packet, id, jobs) p where packet is not null
$$;
