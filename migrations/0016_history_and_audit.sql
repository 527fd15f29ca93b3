-- What the fleet did in each minute, and later in each hour. Of each queue, and under the name '' of all of them: how many jobs
-- were ready last, the most that ran, and the longest wait. What the workers counted is in the row '' alone.
create table fastq.history (
  at        timestamptz not null,
  span_s    int4 not null default 60 check (span_s in (60, 3600)),
  queue     text collate "C" not null default '',
  claimed   int8 not null default 0,
  succeeded int8 not null default 0,
  failed    int8 not null default 0,
  retried   int8 not null default 0,
  returned  int8 not null default 0,
  lost      int8 not null default 0,
  ready     int8,
  running   int8,
  oldest_s  float8,
  primary key (span_s, at, queue)
);

-- Who changed what by the page: a row for each action.
create table fastq.audit (
  id     int8 generated always as identity primary key,
  at     timestamptz not null default now(),
  who    text not null,
  action text not null,
  target text not null,
  jobs   int8
);
