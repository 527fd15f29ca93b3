-- How far a running job says that it has come: a share from 0 to 1, and a few words.
alter table fastq.progress add column share float4, add column note text;
