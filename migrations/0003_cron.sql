-- Schedules know who keeps them: `owner` is the app (module:attr) that last registered one, `seen_at` when.
alter table fastq.cron
  add column owner text collate "C" not null default '',
  add column seen_at timestamptz not null default now();
