-- A number that no worker has ever had.
-- Locks: none. Index: none. Caller: protocol.worker.
select nextval('fastq.worker_id') as id, set_config('synchronous_commit', 'on', true) as durable
