-- The tables, in one piece: what migrations 1 to 7 of the first checkouts had made by the end. Functions and views are in the
-- folders beside this file.
--
-- A job is inserted once, deleted once and never updated: the table that a row stands in is the job's state.
-- Every hot table has `slot` first in its keys, so that each statement can be kept to one shard.

-- A place in line. One call of nextval stands for a block of 1024 places, so that producers number rows themselves.
create sequence fastq.pos as int8 increment by 1024 start with 1024 cache 1;
-- Workers number their leases themselves, from blocks of 65536.
create sequence fastq.lease_id as int8 increment by 65536 start with 65536;
create sequence fastq.worker_id as int8;

-- Jobs that may run now, in a ring of segments. `id` is null where it equals `pos`.
create table fastq.ready (
  segment     int2  not null,
  priority    int2  not null default 4 check (priority between 0 and 9),
  attempt     int2  not null default 0,
  slot        int4  not null default 0,
  pos         int8  not null default nextval('fastq.pos'),
  id          int8,
  enqueued_ms int8  not null default (extract(epoch from now()) * 1000)::int8,
  queue       text  collate "C" not null default 'default',
  group_key   text  collate "C" not null default '',
  task        text  collate "C" not null,
  payload     json  not null default '{}',
  meta        json
) partition by list (segment);

-- One claimed batch: the jobs as one json array, each [pos, task, attempt, enqueued_ms, payload], or these and [id, meta], or
-- all that and [group_key], where the batch has jobs of several groups. Leases stand in segments as ready jobs do: those of jobs
-- from ready_2 in lease_2. So their space, too, can be given back while vacuum cannot run.
create table fastq.lease (
  slot       int4 not null,
  id         int8 not null,
  worker     int8 not null,
  queue      text collate "C" not null,
  priority   int2 not null,
  group_key  text collate "C" not null,
  claimed_at timestamptz not null default now(),
  done       int2[] not null default '{}',
  batch      bytea not null,
  segment    int2 not null default 0
) partition by list (segment);

-- The ring gives the space of emptied segments back; vacuum need not lock everybody out to do so.
do $$
begin
  for k in 0..3 loop
    execute format('create table fastq.ready_%s partition of fastq.ready for values in (%s)
      with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,
            autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 200000,
            vacuum_truncate = off)', k, k);
    execute format('alter table fastq.ready_%s alter column segment set default %s', k, k);
    execute format('alter table fastq.ready_%s add primary key (slot, queue, priority, group_key, pos)', k);
    execute format('create index on fastq.ready_%s (slot, id) where id is not null', k);

    execute format('create table fastq.lease_%s partition of fastq.lease for values in (%s)
      with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
            autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
            toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000,
            toast.autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off, toast.vacuum_truncate = off)', k, k);
    execute format('alter table fastq.lease_%s alter column segment set default %s', k, k);
    execute format('alter table fastq.lease_%s add primary key (slot, id)', k);
    begin
      execute format('alter table fastq.lease_%s alter column batch set compression lz4', k);
    exception when others then  -- this server was built without lz4: plain storage is faster than pglz
      execute format('alter table fastq.lease_%s alter column batch set storage external', k);
    end;
  end loop;
end $$;

-- The segment that new jobs go to. Only a hint: any segment may receive a row at any time.
create table fastq.ring (
  slot       int4 primary key,
  head       int2 not null default 0 check (head between 0 and 3),
  rotated_at timestamptz not null default now()
);

-- Jobs that wait for a time; a reserved one for its commit, until `run_at` at most, and what it waits for after that.
create table fastq.scheduled (
  slot         int4 not null,
  id           int8 not null default nextval('fastq.pos'),
  run_at       timestamptz not null,
  reason       text not null default 'scheduled' check (reason in ('scheduled', 'retrying', 'reserved')),
  priority     int2 not null default 4 check (priority between 0 and 9),
  attempt      int2 not null default 0,
  enqueued_ms  int8 not null default (extract(epoch from now()) * 1000)::int8,
  queue        text collate "C" not null default 'default',
  group_key    text collate "C" not null default '',
  task         text collate "C" not null,
  payload      json not null default '{}',
  meta         json,
  commit_delay interval,
  commit_at    timestamptz,
  primary key (slot, id)
);
create index scheduled_due on fastq.scheduled (slot, run_at) where reason <> 'reserved';
create index scheduled_reserved on fastq.scheduled (slot, run_at) where reason = 'reserved';

-- Which reservations were committed in the last days, so that a commit can be repeated whose answer was lost.
create table fastq.committed (
  slot         int4 not null,
  id           int8 not null,
  committed_at timestamptz not null default now(),
  primary key (slot, id)
);
create index committed_age on fastq.committed (slot, committed_at);

-- Ordered groups: of each line, the jobs of one queue and group in the order of their ids, one job at a time is anywhere
-- else, its head. The rules:
-- 1. A job in fastq.line has a row in fastq.head for its queue and group.
-- 2. The job that a head names is the only ordered one of its line that is ready, scheduled or claimed; or it failed for
--    good and blocks the line, or it is reserved and not yet committed. Null: the head ended while a producer was about to
--    join the line; the leader goes on.
-- 3. Who ends the head brings the next one up, in the same transaction. A line that has run empty has no row at all.
-- Locks: a producer holds the head's row key share until its commit. Who brings the next one up holds it no key update,
-- which goes together; only to delete the row must the producers be gone, and nobody waits for them.
create table fastq.line (
  slot        int4 not null,
  pos         int8 not null,
  run_at      timestamptz,
  priority    int2 not null default 4 check (priority between 0 and 9),
  enqueued_ms int8 not null default (extract(epoch from now()) * 1000)::int8,
  queue       text collate "C" not null,
  group_key   text collate "C" not null,
  task        text collate "C" not null,
  payload     json not null default '{}',
  meta        json,
  reserved    boolean not null default false,  -- holds the place of a job that stands in scheduled until it is committed
  primary key (slot, queue, group_key, pos)
);
create index line_job on fastq.line (slot, pos);

create table fastq.head (
  slot      int4 not null,
  queue     text collate "C" not null,
  group_key text collate "C" not null,
  job       int8,
  since     timestamptz not null default now(),
  primary key (slot, queue, group_key)
) with (fillfactor = 70);
create index head_job on fastq.head (slot, job);

-- Jobs that are kept on purpose.
create table fastq.finished (
  slot        int4 not null,
  id          int8 not null,
  state       text not null check (state in ('succeeded', 'failed', 'discarded', 'cancelled')),
  priority    int2 not null,
  attempt     int2 not null,
  enqueued_ms int8 not null,
  finished_at timestamptz not null default now(),
  expires_at  timestamptz,
  queue       text collate "C" not null,
  group_key   text collate "C" not null,
  task        text collate "C" not null,
  payload     json,
  result      json,
  meta        json,
  primary key (slot, id)
);
create index finished_by_state on fastq.finished (slot, state, finished_at);
create index finished_expiry on fastq.finished (slot, expires_at) where expires_at is not null;

-- One live worker process. Whoever finds `expires_at` passed may take its leases back and delete the row.
create table fastq.worker (
  slot       int4 not null,
  id         int8 not null,
  host       text not null,
  pid        int4 not null,
  name       text not null default '',
  started_at timestamptz not null default now(),
  expires_at timestamptz not null,
  counters   json,
  primary key (slot, id)
) with (fillfactor = 50);

-- What a running job made durable.
create table fastq.progress (
  slot       int4 not null,
  lease      int8 not null,
  ord        int2 not null,
  completed  boolean not null default false,
  checkpoint json,
  written_at timestamptz not null default now(),
  primary key (slot, lease, ord)
);

-- Running jobs that somebody wants to end. The worker that holds the lease ends the run. A mark whose lease is gone
-- follows its job (fastq.sweep_cancellations), so the retry of a marked job is cancelled too. Only the sweep and fastq.retry
-- delete marks: it takes the mark before the job, and whoever took them the other way round could deadlock with it.
create table fastq.cancellation (
  slot     int4 not null,
  job      int8 not null,
  lease    int8 not null,
  ord      int2 not null,
  asked_at timestamptz not null default now(),
  primary key (slot, job)
);

-- A held deduplication key.
create table fastq.unique_key (
  slot       int4 not null,
  key        text collate "C" not null,
  job        int8 not null,
  held_until text not null default 'finished' check (held_until in ('finished', 'started', 'time')),
  expires_at timestamptz,
  queue      text collate "C" not null default 'default',
  priority   int2 not null default 4,
  group_key  text collate "C" not null default '',
  taken_at   timestamptz not null default now(),
  primary key (slot, key)
);
create index unique_key_job on fastq.unique_key (slot, job);
create index unique_key_expiry on fastq.unique_key (slot, expires_at) where expires_at is not null;

-- Settings of queues: their share of a worker's claims, and limits of the whole fleet: how many of their jobs run at a time,
-- how many of each group, and how many start per second.
create table fastq.queue (
  name                  text collate "C" primary key,
  paused                boolean not null default false,
  weight                int4 check (weight > 0),
  max_running           int4 check (max_running >= 0),
  settings              json,
  max_running_per_group int4 check (max_running_per_group >= 0),
  rate                  float8 check (rate > 0 and rate < 'infinity')
);

-- Claims of a queue with limits lock its row here, so they are counted one after the other. `tokens` are the starts that
-- its rate allowed at `filled_at`.
create table fastq.allowance (
  slot      int4 not null,
  queue     text collate "C" not null,
  tokens    float8 not null default 'infinity',
  filled_at timestamptz not null default now(),
  primary key (slot, queue)
) with (fillfactor = 50);

-- Schedules know who keeps them: `owner` is the app (module:attr) that last registered one, `seen_at` when.
create table fastq.cron (
  name    text collate "C" primary key,
  next_at timestamptz not null,
  last_at timestamptz,
  spec    json not null,
  owner   text collate "C" not null default '',
  seen_at timestamptz not null default now()
);

create table fastq.setting (name text collate "C" primary key, value json not null);

create table fastq.leader (
  name       text collate "C" primary key,
  holder     text not null,
  expires_at timestamptz not null
);

insert into fastq.setting values ('slots', '1'), ('payload_limit_bytes', '1048576');
insert into fastq.ring (slot) values (0);
