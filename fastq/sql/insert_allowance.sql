-- Make the row that claims of a queue with limits lock, the first time.
-- Locks: none. Index: allowance_pkey. Caller: protocol.limits.
insert into fastq.allowance (slot, queue) values (%(slot)s, %(queue)s) on conflict (slot, queue) do nothing
