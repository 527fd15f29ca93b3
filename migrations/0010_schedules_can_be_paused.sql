-- Schedules can be paused, and their times are such that every client can read them: one that could not was a stranger's.
alter table fastq.cron add column paused boolean not null default false;
update fastq.cron set next_at = '9999-12-30 00:00+00' where not next_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00';
update fastq.cron set last_at = null where not last_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00';
update fastq.cron set seen_at = now() where not seen_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00';
alter table fastq.cron
  add constraint cron_times check (
    next_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00'
    and (last_at is null or last_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00')
    and seen_at between '1970-01-01 00:00+00' and '9999-12-30 00:00+00'
  );
