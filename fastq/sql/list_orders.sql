-- What somebody has asked of the supervisor of some workers by fastq.drain() or fastq.resize().
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
select w.draining, w.resize ->> 'number', w.resize ->> 'processes', w.resize ->> 'concurrency'
from fastq.worker w
where w.shard = %(shard)s and w.id = any (%(workers)s) and (w.draining or w.resize is not null)
