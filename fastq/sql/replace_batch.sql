-- Put another batch into a lease: the same jobs, of which one could not be decoded and is a string of its text now.
-- Function: replace_batch(shard int4, worker int8, lease int8, batch bytea) returns (id int8).
-- Locks: the lease row by update. Index: lease_pkey. Caller: protocol.leases.
update fastq.lease l set batch = %(batch)s where l.shard = %(shard)s and l.worker = %(worker)s and l.id = %(lease)s
returning l.id
