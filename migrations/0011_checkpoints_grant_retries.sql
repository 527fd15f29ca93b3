-- A checkpoint can grant its job more retries; they hold although the worker dies after it.
alter table fastq.progress add column retries int2;
