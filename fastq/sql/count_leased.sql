-- How many jobs some leases were given.
-- Function: count_leased(shard int4, leases int8[]) returns (jobs int8).
-- Locks: none. Index: lease_pkey. Caller: protocol.limits.
select coalesce(sum(coalesce(l.jobs, json_array_length(convert_from(l.batch, 'UTF8')::json))), 0)::int8 as jobs
from fastq.lease l where l.shard = %(shard)s and l.id = any (%(leases)s::int8[])
