-- How many jobs a lease was given.
-- Locks: none. Index: lease_pkey. Caller: protocol.limits.
select json_array_length(convert_from(l.batch, 'UTF8')::json) as jobs from fastq.lease l
where l.shard = %(shard)s and l.id = %(id)s
