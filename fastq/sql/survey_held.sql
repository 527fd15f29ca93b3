-- What workers hold now: of each of their leases since when, and how many jobs of it are not finished.
-- Function: survey_held() returns (worker int8, since timestamptz, jobs int8).
-- Locks: none. Index: lease scan (a few leases per worker). Caller: insights.survey.
select l.worker, min(l.claimed_at) as since, sum(fastq.jobs_left(row(l.*)::fastq.lease))::int8 as jobs
from fastq.lease l
group by l.worker
