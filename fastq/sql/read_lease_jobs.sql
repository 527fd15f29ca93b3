-- All jobs of one lease, also those that are done, as single texts, for when the batch as a whole cannot be decoded.
-- Locks: none. Index: lease_pkey. Caller: protocol.claim.
select u.ord, u.pos, u.id, u.task, u.attempt, u.enqueued_ms, u.payload::text as payload, u.meta::text as meta,
       u.group_key
from fastq.lease l cross join lateral fastq.unpack(l.batch, '{}', l.group_key) u
where l.slot = %(slot)s and l.id = %(lease)s
order by u.ord
