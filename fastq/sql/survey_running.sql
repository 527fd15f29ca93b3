-- Count the claimed jobs by queue: those that run, and those that wait in a worker's memory for a free place.
-- Function: survey_running() returns (queue text, jobs int8).
-- Locks: none. Index: lease scan (a few leases per worker). Caller: insights.survey, protocol.history.
select l.queue, sum(fastq.jobs_left(row(l.*)::fastq.lease))::int8 as jobs
from fastq.lease l
group by l.queue
