-- Ordered groups: what begins a line, lets it go on and gives it up. The rules stand in migration 0008.

-- Bring the first job of a line up, or give the line up when it is empty; true if a job came. The caller holds the head's
-- row, whose job has ended. What cannot be decided without waiting is left to the leader.
create or replace function fastq.bring_up(s int4, q text, g text) returns boolean language plpgsql as $$
declare
  next  int8;
  job   record;
  moved boolean := false;
begin
  select l.pos into next from fastq.line l where l.shard = s and l.queue = q and l.group_key = g order by l.pos limit 1;
  if next is null and current_setting('transaction_isolation') = 'read committed' then
    perform from fastq.head h where h.shard = s and h.queue = q and h.group_key = g for update skip locked;
    if found then  -- no producer is at it; whoever was has committed, and is seen by this:
      select l.pos into next from fastq.line l where l.shard = s and l.queue = q and l.group_key = g order by l.pos limit 1;
      if next is null then
        delete from fastq.head h where h.shard = s and h.queue = q and h.group_key = g;
        return false;
      end if;
    end if;
  end if;
  if next is not null then
    for job in
      with pick as materialized (
        select l.pos from fastq.line l
        where l.shard = s and l.queue = q and l.group_key = g and l.pos = next
        for update skip locked  -- one that is being cancelled keeps its successors waiting: it may yet stay
      )
      delete from fastq.line l using pick p
      where l.shard = s and l.queue = q and l.group_key = g and l.pos = p.pos
      returning l.*
    loop
      moved := true;
      if not job.reserved then
        perform fastq.put_job(s, row(job.pos, job.priority, 0, job.enqueued_ms, job.queue, job.group_key, job.task, job.payload,
                                     job.meta)::fastq.a_job, job.run_at);
      end if;
    end loop;
  end if;
  update fastq.head h set job = case when moved then next end, since = now()
  where h.shard = s and h.queue = q and h.group_key = g;
  return moved;
end $$;

-- Begin the lines that have no head; of the others hold the heads until the transaction ends, so that they are not given
-- up. The transaction has put jobs into these lines before. Lines are taken in their order, whatever the arrays'.
-- Who begins a line that another open transaction is just beginning waits for that one.
-- With the owner's rights, because producers may neither read heads nor lock them.
create or replace function fastq.begin_lines(shard int4, queues text[], groups text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  w record;
begin
  for w in
    select distinct j.queue collate "C" as queue, j.group_key collate "C" as group_key
    from unnest(queues, groups) as j(queue, group_key)
    order by 1, 2
  loop
    loop  -- again when the line was given up between the two
      perform from fastq.head h
      where h.shard = begin_lines.shard and h.queue = w.queue and h.group_key = w.group_key for key share;
      exit when found;
      insert into fastq.head (shard, queue, group_key) values (begin_lines.shard, w.queue, w.group_key)
      on conflict (shard, queue, group_key) do nothing;
      if found then
        perform fastq.bring_up(begin_lines.shard, w.queue, w.group_key);
        exit;
      end if;
    end loop;
  end loop;
  perform fastq.check_ties(begin_lines.shard, array(
    select fastq.tie_of(j.queue, j.group_key, null, true) from unnest(queues, groups) as j(queue, group_key)));
end $$;
revoke execute on function fastq.begin_lines(int4, text[], text[]) from public;

-- Let a line go on whose head has ended; false when the job is no head.
create or replace function fastq.advance(s int4, ended int8) returns boolean language plpgsql as $$
declare
  l record;
begin
  select h.queue, h.group_key into l from fastq.head h where h.shard = s and h.job = ended for no key update;
  if not found then
    return false;
  end if;
  perform fastq.bring_up(s, l.queue, l.group_key);
  return true;
end $$;

-- Take jobs out of their lines that have ended, or will never be: the lines whose heads they were go on, and the places that
-- they held as reserved ones are given up.
create or replace function fastq.leave_lines(s int4, jobs int8[]) returns void language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set random_page_cost = 0.01 set cpu_operator_cost = 0.1 as $$
begin
  with mine as materialized (
    select h.place from unnest(jobs) as j(id) cross join lateral (
      select l.ctid as place from fastq.line l where l.shard = s and l.pos = j.id and l.reserved offset 0) h
  )
  delete from fastq.line l where l.shard = s and l.ctid = any (array(select m.place from mine m));
  perform fastq.advance(s, h.job)
  from (select f.job from unnest(jobs) as j(id) cross join lateral (
          select h.job, h.queue, h.group_key from fastq.head h where h.shard = s and h.job = j.id offset 0) f
        order by f.queue, f.group_key) h;
end $$;

-- Let lines go on whose head ended while a producer was at them; returns how many did. Any number may run it at a time. A line
-- whose next job no table takes goes behind the others, with a warning.
create or replace function fastq.advance_idle(s int4, most int) returns int language plpgsql as $$
declare
  l    record;
  done int := 0;
begin
  for l in
    select h.queue, h.group_key from fastq.head h where h.shard = s and h.job is null
    order by h.since
    limit most
    for no key update skip locked
  loop
    begin
      done := done + fastq.bring_up(s, l.queue, l.group_key)::int;
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
      raise warning 'the line of group % in queue % cannot go on: %', l.group_key, l.queue, sqlerrm;
      update fastq.head h set since = clock_timestamp()
      where h.shard = s and h.queue = l.queue and h.group_key = l.group_key;
    end;
  end loop;
  return done;
end $$;

-- The net under all this, for what somebody deleted by hand or a kept job that blocked its line and was pruned: let lines
-- go on that have no head, or whose head has named a job for a minute that is nowhere. Looks at `most` lines from a group
-- on; returns how many were mended and the next place to look from, null at the end.
create or replace function fastq.mend_lines(
  s int4, from_queue text, from_group text, most int, out mended int, out next_queue text, out next_group text
) language plpgsql as $$
declare
  put int;
begin
  insert into fastq.head (shard, queue, group_key)
  select s, l.queue, l.group_key
  from (
    with recursive walk as (
      (select l.queue, l.group_key from fastq.line l
       where l.shard = s and (l.queue, l.group_key) > (from_queue, from_group)
       order by l.queue, l.group_key limit 1)
      union all
      select n.queue, n.group_key from walk w cross join lateral (
        select l.queue, l.group_key from fastq.line l where l.shard = s and (l.queue, l.group_key) > (w.queue, w.group_key)
        order by l.queue, l.group_key limit 1) n
    )
    select w.queue, w.group_key from walk w limit most
  ) l
  where not exists (select from fastq.head h where h.shard = s and h.queue = l.queue and h.group_key = l.group_key)
  on conflict (shard, queue, group_key) do nothing;
  get diagnostics mended = row_count;
  with seen as materialized (
    select h.queue, h.group_key, h.job, h.since from fastq.head h
    where h.shard = s and (h.queue, h.group_key) > (from_queue, from_group)
    order by h.queue, h.group_key
    limit most
  ), dead as materialized (
    select h.queue, h.group_key from fastq.head h join seen n on n.queue = h.queue and n.group_key = h.group_key
    where h.shard = s and h.job = n.job and n.since < now() - interval '1 minute'
      and not exists (select from fastq.scheduled w where w.shard = s and w.id = n.job)
      and not exists (select from fastq.ready r where r.shard = s and r.id = n.job)
      and not exists (select from fastq.ready r cross join generate_series(0, 9) as p(priority)
                      where r.shard = s and r.queue = n.queue and r.priority = p.priority and r.group_key = n.group_key
                        and r.pos = n.job)
      and not exists (select from fastq.finished f
                      where f.shard = s and f.id = n.job and f.state = 'failed' and fastq.ordered_of(f.meta) = 'block')
      and not exists (select from fastq.lease l where l.shard = s and position(convert_to(n.job::text, 'UTF8') in l.batch) > 0)
    for no key update of h skip locked
  ), freed as (
    update fastq.head h set job = null from dead d
    where h.shard = s and h.queue = d.queue and h.group_key = d.group_key
    returning 1
  )
  select (select count(*) from freed), n.queue, n.group_key into put, next_queue, next_group
  from (select count(*) as seen from seen) c
  left join (select n.queue, n.group_key from seen n order by n.queue desc, n.group_key desc limit 1) n on c.seen >= most;
  mended := mended + put;
end $$;
