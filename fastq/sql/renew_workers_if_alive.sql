-- Prolong the life of this host's workers; returns those that still have a row. One whose time has run out is revived if
-- nobody has reaped it yet: after an outage of the database all have run out, and all are still there.
-- Function: renew_workers(shard int4, workers int8[], counters json[], lease_s float8) returns (id int8, now_s float8).
-- Locks: worker rows by update. Index: worker_pkey. Caller: protocol.worker.
update fastq.worker w
set expires_at = now() + %(lease_s)s * interval '1 second', counters = c.counters
from unnest(%(workers)s::int8[], %(counters)s::json[]) as c(id, counters)
where w.shard = %(shard)s and w.id = c.id
returning w.id, extract(epoch from clock_timestamp())::float8 as now_s
