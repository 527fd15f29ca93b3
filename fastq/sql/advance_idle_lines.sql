-- Let up to `limit` lines go on whose head ended while a producer was at them; returns how many did.
-- Locks: head rows for no key update skip locked. Index: head_job. Caller: protocol.ordered.
select fastq.advance_idle(%(shard)s, %(limit)s) as advanced
