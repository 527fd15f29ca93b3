-- Reserve one job; says which job holds its unique key, if it has one, and whether that is another one.
-- Locks: the unique_key row by insert. Index: unique_key_pkey; scheduled_pkey, scheduled_reserved by insert.
-- Caller: protocol.reserve.
select r.job, r.duplicate
from fastq.reserve_job(
  %(shard)s::int4, %(expires_s)s::float8, %(delay_s)s::float8, %(run_at)s::timestamptz, %(queue)s::text, %(priority)s::int2,
  %(group_key)s::text, %(task)s::text, %(payload)s::json, %(meta)s::json, %(key)s::text, %(until)s::text,
  %(patience)s::text) r
