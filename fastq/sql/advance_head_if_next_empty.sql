-- Send new jobs to the next segment once the head has grown to `bytes`, if that one has been emptied and truncated.
-- Its packets count too, and so do large payloads, which stand beside a table in its toast table.
-- Only an optimisation: a producer with an old head in mind loses nothing, claims look at every segment.
-- Function: advance_head(shard int4, bytes numeric) returns (head int2).
-- Locks: the ring row by update. Index: ring_pkey. Caller: protocol.rotate.
update fastq.ring r
set head = (r.head + 1) %% 4, rotated_at = now()
where r.shard = %(shard)s
  and (select sum(pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0))
       from pg_class c
       where c.oid in (format('fastq.ready_%%s', r.head)::regclass, format('fastq.packet_%%s', r.head)::regclass)) >= %(bytes)s
  and pg_relation_size(format('fastq.ready_%%s', (r.head + 1) %% 4)::regclass) = 0
returning r.head
