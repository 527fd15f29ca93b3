-- What the workers counted is known of each queue, too, and how long runs took and jobs waited, as in task_history.
alter table fastq.history
  add column ran_us int8 not null default 0, add column waited_ms int8 not null default 0,
  add column ran int8[] not null default '{}', add column waited int8[] not null default '{}';

-- What the workers counted of each queue and task, in each minute of a day and each hour of 90 days. `ran` and `waited` are how many runs,
-- and how many jobs from enqueue to claim, took from 2^(n-1) up to 2^n ms, beginning with n = 0; of runs those of no millisecond
-- are missing there.
create table fastq.task_history (
  at        timestamptz not null,
  span_s    int4 not null default 60 check (span_s in (60, 3600)),
  queue     text collate "C" not null,
  task      text collate "C" not null,
  claimed   int8 not null default 0,
  succeeded int8 not null default 0,
  failed    int8 not null default 0,
  retried   int8 not null default 0,
  returned  int8 not null default 0,
  lost      int8 not null default 0,
  ran_us    int8 not null default 0,
  waited_ms int8 not null default 0,
  ran       int8[] not null default '{}',
  waited    int8[] not null default '{}',
  primary key (span_s, at, queue, task)
);

-- Hours are written from their first minute on now, and not made of minutes that are a day old.
insert into fastq.history as h (at, span_s, queue, claimed, succeeded, failed, retried, returned, lost, ready, running, oldest_s)
select date_trunc('hour', m.at), 3600, m.queue, sum(m.claimed), sum(m.succeeded), sum(m.failed), sum(m.retried), sum(m.returned),
       sum(m.lost), max(m.ready), max(m.running), max(m.oldest_s)
from fastq.history m where m.span_s = 60
group by 1, m.queue
on conflict (span_s, at, queue) do update set
  claimed = h.claimed + excluded.claimed, succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed,
  retried = h.retried + excluded.retried, returned = h.returned + excluded.returned, lost = h.lost + excluded.lost;

-- The tasks that workers have, and the names of their arguments that nobody shall see.
create table fastq.task (
  name    text collate "C" primary key,
  owner   text not null,
  redact  text[] not null default '{}',
  seen_at timestamptz not null default now()
);

-- What a worker tells of itself when it starts: version, concurrency, queues.
alter table fastq.worker add column about json;

-- What fastq.resize() has asked of this worker's supervisor.
alter table fastq.worker add column resize json;
