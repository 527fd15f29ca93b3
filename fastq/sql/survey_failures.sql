-- How many jobs failed for good within the last hour; counts to `cap`.
-- Function: survey_failures(cap int8) returns (jobs int8).
-- Locks: none. Index: finished_by_state. Caller: insights.facts.
select count(*) as jobs
from (
  select 1 from fastq.ring g cross join lateral (
    select 1 from fastq.finished f
    where f.shard = g.shard and f.state = 'failed' and f.finished_at > now() - interval '1 hour'
    limit %(cap)s) f
  limit %(cap)s) f
