-- Make the row that claims of a queue with limits lock, the first time.
-- Locks: none. Index: allowance_pkey. Caller: protocol.limits.
insert into fastq.allowance (shard, queue) values (%(shard)s, %(queue)s) on conflict (shard, queue) do nothing
