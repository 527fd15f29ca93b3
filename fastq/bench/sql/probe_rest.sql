-- Whether jobs of the queue beyond `low` are ready, or leases of the workers open. `low` spares it the dead entries
-- of what was claimed; the last round asks with low = 0.
-- Locks: none. Index: ready_*_pkey, lease_pkey. Caller: bench.ground.
select exists (select from fastq.lease l where l.shard = 0 and l.worker = any (%(workers)s))
    or exists (select from fastq.ready r where r.shard = 0 and r.queue = %(queue)s and r.priority = %(priority)s
                 and r.group_key = '' and r.pos > %(low)s) as rest
