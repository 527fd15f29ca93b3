-- Announce a worker process; its lease of life starts now. One row per shard, all with the same id.
-- Durable whatever the connection's setting: an id that a crash of the server gives out again would name two workers.
-- Function: register_worker(host text, pid int4, name text, lease_s float8, shards int4, about json) returns (id int8, durable text).
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
with w as materialized (select nextval('fastq.worker_id') as id)
insert into fastq.worker (shard, id, host, pid, name, expires_at, about)
select s.shard, w.id, %(host)s, %(pid)s, %(name)s, now() + %(lease_s)s * interval '1 second',
       %(about)s::json
from w cross join generate_series(0, %(shards)s - 1) as s(shard)
returning id, set_config('synchronous_commit', 'on', true) as durable
