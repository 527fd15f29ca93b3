-- Queues have limits: how many of their jobs run at a time in the whole fleet, of each group, and how many start per second.

alter table fastq.queue
  add column max_running_per_group int4 check (max_running_per_group >= 0),
  add column rate float8 check (rate > 0 and rate < 'infinity'),
  alter column weight drop not null,
  alter column weight drop default;
update fastq.queue set weight = null;

-- Claims of a queue with limits lock its row here, so they are counted one after the other. `tokens` are the starts that
-- its rate allowed at `filled_at`.
create table fastq.allowance (
  slot      int4 not null,
  queue     text collate "C" not null,
  tokens    float8 not null default 'infinity',
  filled_at timestamptz not null default now(),
  primary key (slot, queue)
) with (fillfactor = 50);
