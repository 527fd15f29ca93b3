-- Cancel one job: 'cancelled', or 'cancelling' when it runs and its worker has to end it; null when there is nothing to cancel.
-- Stewards are told of the latter, each looks whether the job is one of its host's.
-- Locks: the job's row by delete, or its mark by upsert. Index: see fastq.find. Caller: protocol.jobs.
with done as materialized (select fastq.cancel(%(id)s::int8) as outcome)
select d.outcome, case when d.outcome = 'cancelling' then pg_notify('fastq', 'cancel')::text end as told from done d
