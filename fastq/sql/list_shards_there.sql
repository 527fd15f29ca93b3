-- The shards that can be asked: on a cluster, those whose node answers.
-- Locks: none. Index: setting_pkey. Caller: insights.survey.
select s.shard from fastq.shards_there() as s(shard) order by s.shard
