-- How far a running job says that it has come: a share from 0 to 1, and a few words.
alter table fastq.progress add column share float4, add column note text;

-- A job that was not begun in the time it had is kept as expired.
alter table fastq.finished drop constraint finished_state_check;
alter table fastq.finished add constraint finished_state_check
  check (state in ('succeeded', 'failed', 'discarded', 'cancelled', 'expired')) not valid;
alter table fastq.finished validate constraint finished_state_check;
