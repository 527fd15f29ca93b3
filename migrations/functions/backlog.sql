-- How much there is to do, for those who scale: one number, in no time.

-- How many jobs of a queue, or of all, are ready or run; of ready ones no more than `most` rows of each segment are counted.
create or replace function fastq.backlog(queue text default null, most int8 default 20000) returns int8 language sql stable
set enable_seqscan = off as $$
  select coalesce((
    select sum(coalesce(r.jobs, 1))
    from fastq.ring n cross join generate_series(0, 3) as k(segment) cross join lateral (
      select r.jobs from fastq.ready r
      where r.segment = k.segment and r.shard = n.shard and (backlog.queue is null or r.queue = backlog.queue)
      order by r.queue, r.priority, r.group_key, r.pos
      limit most) r
  ), 0)::int8 + coalesce((
    select sum(fastq.jobs_left(row(l.*)::fastq.lease)) from fastq.lease l where backlog.queue is null or l.queue = backlog.queue
  ), 0)::int8
$$;
