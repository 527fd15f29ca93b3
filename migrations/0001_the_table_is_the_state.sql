-- A job is inserted once, deleted once and never updated: the table that a row stands in is the job's state.
-- Every hot table has `slot` first in its keys, so that each statement can be kept to one shard.

create schema if not exists fastq;

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

do $$
begin
  for k in 0..3 loop
    execute format('create table fastq.ready_%s partition of fastq.ready for values in (%s)
      with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000,
            autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 200000)', k, k);
    execute format('alter table fastq.ready_%s alter column segment set default %s', k, k);
    execute format('alter table fastq.ready_%s add primary key (slot, queue, priority, group_key, pos)', k);
    execute format('create index on fastq.ready_%s (slot, id) where id is not null', k);
  end loop;
end $$;

-- The segment that new jobs go to. Only a hint: any segment may receive a row at any time.
create table fastq.ring (
  slot       int4 primary key,
  head       int2 not null default 0 check (head between 0 and 3),
  rotated_at timestamptz not null default now()
);

-- One claimed batch: the jobs as one json array, each [pos, task, attempt, enqueued_ms, payload] or these and [id, meta].
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
  primary key (slot, id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
        toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000, toast.autovacuum_vacuum_cost_delay = 0);

do $$
begin
  alter table fastq.lease alter column batch set compression lz4;
exception when others then  -- this server was built without lz4: plain storage is faster than pglz
  alter table fastq.lease alter column batch set storage external;
end $$;

-- Jobs that wait for a time.
create table fastq.scheduled (
  slot        int4 not null,
  id          int8 not null default nextval('fastq.pos'),
  run_at      timestamptz not null,
  reason      text not null default 'scheduled' check (reason in ('scheduled', 'retrying', 'reserved')),
  priority    int2 not null default 4 check (priority between 0 and 9),
  attempt     int2 not null default 0,
  enqueued_ms int8 not null default (extract(epoch from now()) * 1000)::int8,
  queue       text collate "C" not null default 'default',
  group_key   text collate "C" not null default '',
  task        text collate "C" not null,
  payload     json not null default '{}',
  meta        json,
  primary key (slot, id)
);
create index scheduled_due on fastq.scheduled (slot, run_at) where reason <> 'reserved';

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

-- A held deduplication key.
create table fastq.unique_key (
  slot       int4 not null,
  key        text collate "C" not null,
  job        int8 not null,
  held_until text not null default 'finished' check (held_until in ('finished', 'started', 'time')),
  expires_at timestamptz,
  primary key (slot, key)
);

-- Settings and small state.
create table fastq.queue (
  name        text collate "C" primary key,
  paused      boolean not null default false,
  weight      int4 not null default 1 check (weight > 0),
  max_running int4 check (max_running >= 0),
  settings    json
);
create table fastq.cron (
  name    text collate "C" primary key,
  next_at timestamptz not null,
  last_at timestamptz,
  spec    json not null
);
create table fastq.setting (name text collate "C" primary key, value json not null);
create table fastq.leader (
  name       text collate "C" primary key,
  holder     text not null,
  expires_at timestamptz not null
);

insert into fastq.setting values ('slots', '1'), ('payload_limit_bytes', '1048576');
insert into fastq.ring (slot) values (0);

-- The jobs of one lease that are not done yet, one row each; `ord` is the job's place in the batch, from 0.
create function fastq.unpack(batch bytea, done int2[])
returns table (ord int2, pos int8, id int8, task text, attempt int2, enqueued_ms int8, payload json, meta json)
language sql stable as $$
  -- Only json_array_elements is used on payloads: every other accessor refuses \u0000 and lone surrogates in them.
  select (j.n - 1)::int2, j.f[1]::int8, coalesce(nullif(j.f[6], 'null')::int8, j.f[1]::int8), j.f[2]::json #>> '{}',
         j.f[3]::int2, j.f[4]::int8, j.f[5]::json, nullif(j.f[7], 'null')::json
  from (
    select e.n, (select array_agg(x.v::text order by x.k) from json_array_elements(e.job) with ordinality as x(v, k)) as f
    from json_array_elements(convert_from(batch, 'UTF8')::json) with ordinality as e(job, n)
    where (e.n - 1)::int2 <> all (done)
  ) j
$$;

create function fastq.at_ms(ms int8) returns timestamptz language sql immutable as
$$ select timestamptz 'epoch' + ms * interval '1 millisecond' $$;

-- Every job that exists, one row each.
create view fastq.job as
  select slot, coalesce(id, pos) as id, 'ready' as state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms) as enqueued_at, null::timestamptz as run_at, null::timestamptz as claimed_at,
         null::timestamptz as finished_at, null::int8 as worker, payload, null::json as result, meta
  from fastq.ready
  union all
  select l.slot, j.id, 'running', l.queue, l.priority, l.group_key, j.task, j.attempt,
         fastq.at_ms(j.enqueued_ms), null, l.claimed_at, null, l.worker, j.payload, null, j.meta
  from fastq.lease l cross join lateral fastq.unpack(l.batch, l.done) j
  union all
  select slot, id, reason, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), run_at, null, null, null, payload, null, meta
  from fastq.scheduled
  union all
  select slot, id, state, queue, priority, group_key, task, attempt,
         fastq.at_ms(enqueued_ms), null, null, finished_at, null, payload, result, meta
  from fastq.finished;

-- Refuse a payload that workers could not take: too large, or nested so deeply that the batch around it overflows the
-- parser's stack.
create function fastq.check_payload(caller text, payload text) returns void language plpgsql as $$
declare
  most int8 := (select value::text::int8 from fastq.setting where name = 'payload_limit_bytes');
begin
  if octet_length(payload) > most then
    raise exception '%: the payload has % bytes; the limit is % (setting payload_limit_bytes)', caller, octet_length(payload), most
      using errcode = 'invalid_parameter_value';
  end if;
  if octet_length(payload) > 4096 then
    begin
      perform (repeat('[', 500) || payload || repeat(']', 500))::json;
    exception when statement_too_complex then
      raise exception '%: the payload is nested too deeply', caller using errcode = 'invalid_parameter_value';
    end;
  end if;
end $$;

-- Enqueue one job from any language, inside the caller's transaction; returns its id.
create function fastq.enqueue(
  task      text,
  payload   json        default '{}',
  queue     text        default 'default',
  priority  int         default 4,
  delay     interval    default null,
  run_at    timestamptz default null,
  group_key text        default '',
  headers   json        default null
) returns int8 language plpgsql as $$
#variable_conflict use_column
declare
  due timestamptz := coalesce(enqueue.run_at, now() + enqueue.delay);
  put int8;
begin
  if json_typeof(enqueue.payload) is distinct from 'object' then
    raise exception 'fastq.enqueue: payload must be a json object of the task''s arguments, not %',
      coalesce(json_typeof(enqueue.payload), 'null') using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.enqueue', enqueue.payload::text);
  if due is not null and due > now() then
    insert into fastq.scheduled (slot, run_at, priority, queue, group_key, task, payload, meta)
    values (0, due, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
            case when enqueue.headers is not null then json_build_object('headers', enqueue.headers) end)
    returning id into put;
  else
    insert into fastq.ready (segment, slot, priority, queue, group_key, task, payload, meta)
    select r.head, 0, enqueue.priority, enqueue.queue, enqueue.group_key, enqueue.task, enqueue.payload,
           case when enqueue.headers is not null then json_build_object('headers', enqueue.headers) end
    from fastq.ring r where r.slot = 0
    returning pos into put;
    perform pg_notify('fastq', '');
  end if;
  return put;
end $$;

-- Enqueue a json array of payloads for one task; returns how many.
create function fastq.enqueue_many(task text, payloads json, queue text default 'default', priority int default 4)
returns int8 language plpgsql as $$
#variable_conflict use_column
declare
  put int8;
begin
  if exists (select from json_array_elements(enqueue_many.payloads) v where json_typeof(v) <> 'object') then
    raise exception 'fastq.enqueue_many: every payload must be a json object' using errcode = 'invalid_parameter_value';
  end if;
  perform fastq.check_payload('fastq.enqueue_many', v::text) from json_array_elements(enqueue_many.payloads) v;
  insert into fastq.ready (segment, slot, priority, queue, task, payload)
  select r.head, 0, enqueue_many.priority, enqueue_many.queue, enqueue_many.task, v
  from fastq.ring r cross join lateral json_array_elements(enqueue_many.payloads) v
  where r.slot = 0;
  get diagnostics put = row_count;
  perform pg_notify('fastq', '');
  return put;
end $$;
