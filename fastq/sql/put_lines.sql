-- Enqueue up to 1024 jobs that wait for a time, are unique or ordered, given as lines; see fastq.put_lines. Returns in the order
-- of the lines which job holds the key, or the job itself, and whether that is another job.
-- Locks: unique_key rows by insert, in the order of the keys (fastq.hold_keys). Index: unique_key_pkey; ready_*_pkey,
-- scheduled_pkey, scheduled_due, line_pkey by insert. Caller: protocol.unique.
select p.job, p.duplicate
from fastq.put_lines(%(shard)s::int4, %(lines)s::text, %(patience)s::text) p
