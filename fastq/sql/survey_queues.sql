-- The queues that have settings: whether they are paused.
-- Locks: none. Index: queue_pkey. Caller: insights.survey.
select q.name, q.paused from fastq.queue q order by q.name limit %(limit)s
