-- Write down how many starts a queue's rate allows after a claim.
-- Locks: the allowance row (the caller has it). Index: allowance_pkey. Caller: protocol.limits.
update fastq.allowance a set tokens = %(tokens)s::float8, filled_at = %(filled_at)s::timestamptz
where a.shard = %(shard)s and a.queue = %(queue)s
