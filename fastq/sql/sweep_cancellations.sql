-- Let the marks of cancelled jobs follow those whose lease is gone, at most `limit`; returns how many were dealt with.
-- Locks: marks for update skip locked, then as cancel_job. Index: cancellation scan, lease_pkey. Caller: protocol.jobs.
select fastq.sweep_cancellations(%(limit)s::int) as swept
