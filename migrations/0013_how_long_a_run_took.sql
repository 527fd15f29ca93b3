-- How long the last run of a kept job took; null where it did not run, or its worker died with it.
alter table fastq.finished add column ran_ms int8;
drop function if exists fastq.find(int8);  -- it is made again and returns a column more
