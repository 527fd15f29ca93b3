-- Announce a worker in shards that were added since it was: one row each, like its first one. None if it was given up.
-- Locks: its first worker row key share. Index: worker_pkey. Caller: protocol.worker.
insert into fastq.worker (shard, id, host, pid, name, expires_at, started_at, about)
select s.shard, w.id, w.host, w.pid, w.name, w.expires_at, w.started_at, w.about
from (select w.id, w.host, w.pid, w.name, w.expires_at, w.started_at, w.about from fastq.worker w
      where w.shard = %(shard)s and w.id = %(worker)s for key share) w
cross join generate_series(%(since)s, %(shards)s - 1) as s(shard)
on conflict do nothing
returning shard
