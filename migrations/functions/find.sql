-- Find a job by its id, all places in one snapshot: no row means that it is gone. `pos` is set in ready, `lease` and
-- `ord` where it runs. It takes the keys of scheduled, line and finished, the partial index on ready, one probe for each of
-- at most 2000 lanes of ready, and a search for the id's digits in the packed leases; with more lanes than that, one pass
-- over ready's key. The settings keep a planner without statistics on the indexes.
create or replace function fastq.find(job int8)
returns table (
  shard int4, id int8, state text, segment int2, pos int8, lease int8, ord int2, queue text, priority int2,
  group_key text, task text, attempt int2, enqueued_ms int8, run_at timestamptz, claimed_at timestamptz,
  finished_at timestamptz, expires_at timestamptz, worker int8, payload json, result json, meta json,
  ran_ms int8
) language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  s           int4;
  most        constant int := 2000;
  queues      text[];
  priorities  int2[];
  groups      text[];
  hit         record;
begin
  for s in 0 .. fastq.shards() - 1 loop
    return query
      select w.shard, w.id, w.reason, null::int2, null::int8, null::int8, null::int2, w.queue, w.priority, w.group_key,
             w.task, w.attempt, w.enqueued_ms, w.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, w.payload, null::json, w.meta, null::int8
      from fastq.scheduled w where w.shard = s and w.id = find.job;
    if found then return; end if;
    return query
      select l.shard, l.pos, 'waiting', null::int2, null::int8, null::int8, null::int2, l.queue, l.priority, l.group_key,
             l.task, 0::int2, l.enqueued_ms, l.run_at, null::timestamptz, null::timestamptz, null::timestamptz,
             null::int8, l.payload, null::json, l.meta, null::int8
      from fastq.line l where l.shard = s and l.pos = find.job and not l.reserved;
    if found then return; end if;
    return query
      select f.shard, f.id, f.state, null::int2, null::int8, null::int8, null::int2, f.queue, f.priority, f.group_key,
             f.task, f.attempt, f.enqueued_ms, null::timestamptz, null::timestamptz, f.finished_at, f.expires_at,
             null::int8, f.payload, f.result, f.meta, f.ran_ms
      from fastq.finished f where f.shard = s and f.id = find.job;
    if found then return; end if;

    select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
    from fastq.ready r where r.shard = s and r.id = find.job;
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
          and r.pos = find.job and r.id is null
        offset 0) r
      limit 1;
    end if;
    if not found then
      return query
        select l.shard, j.id, 'running', null::int2, null::int8, l.id, j.ord, l.queue, l.priority, j.group_key, j.task,
               j.attempt, j.enqueued_ms, null::timestamptz, l.claimed_at, null::timestamptz, null::timestamptz, l.worker,
               j.payload, null::json, j.meta, null::int8
        from (select h.shard, h.id, h.worker, h.queue, h.priority, h.group_key, h.claimed_at, h.batch, h.done
              from fastq.lease h
              where h.shard = s and position(convert_to(find.job::text, 'UTF8') in h.batch) > 0
              offset 0) l
        cross join lateral fastq.try_unpack(l.batch, l.done, l.group_key) j
        where j.id = find.job
        limit 1;
      if found then return; end if;
      if cardinality(queues) = most then
        select r.segment, r.queue, r.priority, r.group_key, r.pos into hit
        from fastq.ready r where r.shard = s and r.pos = find.job and r.id is null;
      end if;
    end if;
    if hit.pos is not null then
      return query
        select r.shard, coalesce(r.id, r.pos), 'ready', r.segment, r.pos, null::int8, null::int2, r.queue, r.priority,
               r.group_key, r.task, r.attempt, r.enqueued_ms, null::timestamptz, null::timestamptz, null::timestamptz,
               null::timestamptz, null::int8, r.payload, null::json, r.meta, null::int8
        from fastq.ready r
        where r.segment = hit.segment and r.shard = s and r.queue = hit.queue and r.priority = hit.priority
          and r.group_key = hit.group_key and r.pos = hit.pos;
      return;
    end if;
  end loop;
end $$;
