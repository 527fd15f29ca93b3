-- Find a job by its id among those that are together in a packet: which is the last one that begins before the id, and of
-- the rows that have a part of it, the one with the job. `pos` is that row's.
create or replace function fastq.find_in_packet(s int4, job int8)
returns setof fastq.found language plpgsql stable as $$
#variable_conflict use_column
declare
  k record;
begin
  for k in
    select n.pos from generate_series(0, 4) as g(segment) cross join lateral (
      select p.pos, p.jobs from fastq.packet p
      where p.segment = g.segment and p.shard = s and p.pos <= find_in_packet.job order by p.pos desc limit 1) n
    where find_in_packet.job < n.pos + n.jobs
  loop
    return query
      select r.shard, find_in_packet.job, 'ready', r.segment, r.pos, null::int8, null::int2, r.queue, r.priority, r.group_key,
             r.task, r.attempt, r.enqueued_ms, null::timestamptz, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, p.payload, null::json, r.meta, null::int8, r.packet
      from fastq.ready r
      cross join lateral fastq.payloads(s, r.packet, find_in_packet.job, 1::int2) p
      where r.shard = s and r.packet = k.pos and find_in_packet.job - coalesce(r.id, r.pos) between 0 and r.jobs - 1
      union all
      select w.shard, find_in_packet.job, w.reason, null::int2, null::int8, null::int8, null::int2, w.queue, w.priority,
             w.group_key, w.task, w.attempt, w.enqueued_ms, w.run_at, null, null, null, null, p.payload, null, w.meta, null,
             w.packet
      from fastq.scheduled w
      cross join lateral fastq.payloads(s, w.packet, find_in_packet.job, 1::int2) p
      where w.shard = s and w.packet = k.pos and find_in_packet.job - w.id between 0 and w.jobs - 1
      union all
      select l.shard, j.id, 'running', null, null, l.id, j.ord, l.queue, l.priority, j.group_key, j.task, j.attempt,
             j.enqueued_ms, null, l.claimed_at, null, null, l.worker, j.payload, null, j.meta, null, l.packet
      from fastq.lease l cross join lateral fastq.try_jobs_of(row(l.*)::fastq.lease) j
      where l.shard = s and l.packet = k.pos and j.id = find_in_packet.job
      limit 1;
    if found then return; end if;
  end loop;
end $$;

-- Find a job by its id, all places in one snapshot: no row means that it is gone. `pos` is set in ready, `lease` and
-- `ord` where it runs. It takes the keys of scheduled, line and finished, the partial index on ready, one probe for each of
-- at most 2000 lanes of ready, and a search for the id's digits in the packed leases; with more lanes than that, one pass
-- over ready's key. The settings keep a planner without statistics on the indexes.
create or replace function fastq.find(job int8)
returns setof fastq.found language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  s           int4;
  most        constant int := 2000;
  queues      text[];
  priorities  int2[];
  groups      text[];
  hit         record;
begin
  for s in select * from fastq.all_shards() loop
    return query
      select w.shard, w.id, w.reason, null::int2, null::int8, null::int8, null::int2, w.queue, w.priority, w.group_key,
             w.task, w.attempt, w.enqueued_ms, w.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, w.payload, null::json, w.meta, null::int8, null::int8
      from fastq.scheduled w where w.shard = s and w.id = find.job and w.packet is null;
    if found then return; end if;
    return query
      select l.shard, l.pos, 'waiting', null::int2, null::int8, null::int8, null::int2, l.queue, l.priority, l.group_key,
             l.task, 0::int2, l.enqueued_ms, l.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, l.payload, null::json, l.meta, null::int8, null::int8
      from fastq.line l where l.shard = s and l.pos = find.job and not l.reserved;
    if found then return; end if;
    return query
      select f.shard, f.id, f.state, null::int2, null::int8, null::int8, null::int2, f.queue, f.priority, f.group_key,
             f.task, f.attempt, f.enqueued_ms, null::timestamptz, null::timestamptz, f.finished_at, f.expires_at,
             null::int8, f.payload, f.result, f.meta, f.ran_ms, null::int8
      from fastq.finished f where f.shard = s and f.id = find.job;
    if found then return; end if;

    select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
    from fastq.ready r where r.shard = s and r.id = find.job and r.packet is null;
    if not found then
      with recursive lane as (
        (select r.queue, r.priority, r.group_key from fastq.ready r where r.shard = s
         order by r.queue, r.priority, r.group_key limit 1)
        union all
        select n.queue, n.priority, n.group_key from lane l cross join lateral (
          select r.queue, r.priority, r.group_key from fastq.ready r
          where r.shard = s and (r.queue, r.priority, r.group_key) > (l.queue, l.priority, l.group_key)
          order by r.queue, r.priority, r.group_key limit 1) n
      )
      select array_agg(l.queue), array_agg(l.priority), array_agg(l.group_key) into queues, priorities, groups
      from (select l.queue, l.priority, l.group_key from lane l limit most) l;
      select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
      from unnest(queues, priorities, groups) as l(queue, priority, group_key) cross join lateral (
        select r.segment, r.queue, r.priority, r.group_key, r.pos from fastq.ready r
        where r.shard = s and r.queue = l.queue and r.priority = l.priority and r.group_key = l.group_key
          and r.pos = find.job and r.id is null and r.packet is null
        offset 0) r
      limit 1;
    end if;
    if not found then
      return query
        select l.shard, j.id, 'running', null::int2, null::int8, l.id, j.ord, l.queue, l.priority, j.group_key, j.task,
               j.attempt, j.enqueued_ms, null::timestamptz, l.claimed_at, null::timestamptz, null::timestamptz, l.worker,
               j.payload, null::json, j.meta, null::int8, l.packet
        from (select h as whole, h.shard, h.id, h.worker, h.queue, h.priority, h.claimed_at, h.packet
              from fastq.lease h
              where h.shard = s and position(convert_to(find.job::text, 'UTF8') in h.batch) > 0
              offset 0) l
        cross join lateral fastq.try_jobs_of(l.whole) j
        where j.id = find.job
        limit 1;
      if found then return; end if;
      if cardinality(queues) = most then
        select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
        from fastq.ready r where r.shard = s and r.pos = find.job and r.id is null and r.packet is null;
      end if;
    end if;
    if hit.pos is null then
      return query select p.* from fastq.find_in_packet(s, find.job) p;
      if found then return; end if;
    else
      return query
        select r.shard, coalesce(r.id, r.pos), 'ready', r.segment, r.pos, null::int8, null::int2, r.queue, r.priority,
               r.group_key, r.task, r.attempt, r.enqueued_ms, null::timestamptz, null::timestamptz, null::timestamptz,
               null::timestamptz, null::int8, r.payload, null::json, r.meta, null::int8, null::int8
        from fastq.ready r
        where r.segment = hit.segment and r.shard = s and r.queue = hit.queue and r.priority = hit.priority
          and r.group_key = hit.group_key and r.pos = hit.pos;
      return;
    end if;
  end loop;
end $$;

-- How far a running job says that it has come, and its last checkpoint; no row where it has said nothing.
drop function if exists fastq.progress_of(int4, int8, int2);  -- it is made again and returns a column more
create or replace function fastq.progress_of(s int4, lease int8, ord int2)
returns table (progress float4, note text, checkpoint json) language plpgsql stable rows 1 as $$
#variable_conflict use_column
begin
  return query select p.share, p.note, p.checkpoint from fastq.progress p
               where p.shard = s and p.lease = progress_of.lease and p.ord = progress_of.ord;
end $$;

-- One job with all that there is to say of it.
create or replace function fastq.show(job int8) returns table (
  id int8, state text, queue text, priority int2, group_key text, task text, attempt int2, enqueued_at timestamptz,
  run_at timestamptz, claimed_at timestamptz, finished_at timestamptz, expires_at timestamptz, worker int8, payload text,
  result text, meta text, cancelling boolean, ran_ms int8, progress float4, note text, checkpoint text
) language plpgsql stable rows 1 as $$
#variable_conflict use_column
begin
  return query
    select f.id, f.state, f.queue, f.priority, f.group_key, f.task, f.attempt, fastq.at_ms(f.enqueued_ms), f.run_at, f.claimed_at,
           f.finished_at, f.expires_at, f.worker, f.payload::text, f.result::text, f.meta::text,
           exists (select from fastq.cancellation c where c.shard = f.shard and c.job = f.id and f.state = 'running'),
           f.ran_ms, p.progress, p.note, p.checkpoint::text
    from fastq.find(show.job) f
    left join lateral fastq.progress_of(f.shard, f.lease, f.ord) p on true;
end $$;
