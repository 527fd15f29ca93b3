-- The segments whose packets are to be swept one by one: that of scheduled jobs, and a head that has grown to `bytes` of
-- packets, as one does that cannot go on. All others are truncated.
-- Locks: none. Index: ring_pkey. Caller: protocol.rotate.
select s.segment
from (select 4 as segment, 1 as least
      union all
      select r.head, %(bytes)s from fastq.ring r where r.shard = %(shard)s) s
join pg_class c on c.oid = format('fastq.packet_%%s', s.segment)::regclass
where pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) >= s.least
