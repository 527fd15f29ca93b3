-- Announce a worker in one shard of a cluster; its lease of life starts now. Its id is a fresh one of take_worker_id.
-- Function: enlist_worker(shard int4, worker int8, host text, pid int4, name text, lease_s float8, about json) returns (id int8).
-- Locks: none. Index: worker_pkey. Caller: protocol.worker.
insert into fastq.worker (shard, id, host, pid, name, expires_at, about)
values (%(shard)s, %(worker)s, %(host)s, %(pid)s, %(name)s, now() + %(lease_s)s * interval '1 second', %(about)s::json)
on conflict (shard, id) do nothing
returning id
