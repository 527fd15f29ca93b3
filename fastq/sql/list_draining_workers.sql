-- Those of some workers whose supervisor somebody has asked to drain.
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
select w.id from fastq.worker w where w.shard = %(shard)s and w.id = any (%(workers)s) and w.draining order by w.id
