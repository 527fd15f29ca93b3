-- Somebody has asked by fastq.drain() that this worker's supervisor drains.
alter table fastq.worker add column draining boolean not null default false;
