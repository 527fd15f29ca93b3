-- Jobs that were enqueued together stay together: one row of ready or scheduled stands for 1 to 1,024 of them, and their
-- payloads are one packet, which nobody touches until the last of them has ended.

-- The payloads of some jobs of one task, as a JSON array in UTF-8: that of job `pos` first, then `pos` + 1 …
-- Packets of ready jobs are in the segments of the ring, and go with their segment when no row of it names one any more;
-- those of scheduled jobs are in segment 4, which is swept.
create table fastq.packet (
  segment  int2 not null,
  shard    int4 not null,
  pos      int8 not null check (pos between 0 and (1::int8 << 62)),  -- and so it is for what follows: nothing added to it overflows
  jobs     int2 not null check (jobs between 1 and 1024),
  payloads bytea not null
) partition by list (segment);

do $$
begin
  for k in 0..4 loop
    execute format('create table fastq.packet_%s partition of fastq.packet for values in (%s)
      with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
            autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1,  -- they are truncated before
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
            toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000,
            toast.autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off, toast.vacuum_truncate = off)', k, k);
    execute format('alter table fastq.packet_%s alter column segment set default %s', k, k);
    execute format('alter table fastq.packet_%s add primary key (shard, pos)', k);
    begin
      execute format('alter table fastq.packet_%s alter column payloads set compression lz4', k);
    exception when others then  -- this server was built without lz4: plain storage is faster than pglz
      execute format('alter table fastq.packet_%s alter column payloads set storage external', k);
    end;
  end loop;
end $$;

-- A row with `jobs` stands for so many jobs, from its id on; their payloads are in `packet`. `pos` is the place of the first.
alter table fastq.ready add column jobs int2, add column packet int8;
alter table fastq.scheduled add column jobs int2, add column packet int8;
alter table fastq.ready add constraint ready_packet check (
  (jobs is null) = (packet is null) and (jobs is null or jobs between 1 and 1024 and attempt = 0
    and pos between 0 and (1::int8 << 62) and coalesce(id, 0) between 0 and (1::int8 << 62))) not valid;
alter table fastq.scheduled add constraint scheduled_packet check (
  (jobs is null) = (packet is null) and (jobs is null or jobs between 1 and 1024 and attempt = 0 and reason = 'scheduled'
    and id between 0 and (1::int8 << 62)))
  not valid;
-- Claims begin behind the least place there is.
alter table fastq.ready add constraint ready_place check (pos > -9223372036854775808) not valid;

-- A lease holds jobs of their own in `batch`, or else `jobs` of a packet from the one with the id `first` on.
alter table fastq.lease
  alter column batch drop not null,
  add column packet int8,
  add column first int8,
  add column jobs int2,
  add column task text collate "C",
  add column enqueued_ms int8,
  add column meta json,
  add constraint lease_packet check (
    packet is null or (first between 0 and (1::int8 << 62) and jobs between 1 and 1024 and task is not null
                       and enqueued_ms is not null)) not valid,
  add constraint lease_time check (fastq.is_time(claimed_at)) not valid;
alter table fastq.finished
  add constraint finished_times check (fastq.is_time(finished_at) and fastq.is_time(expires_at) is not false) not valid;

do $$
begin
  for k in 0..3 loop
    execute format('create index on fastq.ready_%s (shard, packet) where packet is not null', k);
    execute format('create index on fastq.lease_%s (shard, packet) where packet is not null', k);
  end loop;
end $$;
create index scheduled_packet on fastq.scheduled (shard, packet) where packet is not null;

-- A job as fastq.find returns it: where it is, and all about it.
create type fastq.found as (
  shard int4, id int8, state text, segment int2, pos int8, lease int8, ord int2, queue text, priority int2, group_key text,
  task text, attempt int2, enqueued_ms int8, run_at timestamptz, claimed_at timestamptz, finished_at timestamptz,
  expires_at timestamptz, worker int8, payload json, result json, meta json, ran_ms int8, packet int8
);
drop function if exists fastq.find(int8);  -- it is made again and returns these

-- A job without its state: what is taken from one place to be put into another.
create type fastq.a_job as (
  id int8, priority int2, attempt int2, enqueued_ms int8, queue text, group_key text, task text, payload json, meta json
);
