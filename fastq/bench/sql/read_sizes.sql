-- The head of the ring, and the bytes on disk, indexes and TOAST included: of each segment, of the leases, of the rest.
-- Locks: access share, for an instant; waits for a truncation. Index: none. Caller: bench.pinned.
select (select r.head from fastq.ring r where r.shard = 0) as head,
       array[pg_total_relation_size('fastq.ready_0'), pg_total_relation_size('fastq.ready_1'),
             pg_total_relation_size('fastq.ready_2'), pg_total_relation_size('fastq.ready_3')] as ring_bytes,
       pg_total_relation_size('fastq.lease_0') + pg_total_relation_size('fastq.lease_1')
         + pg_total_relation_size('fastq.lease_2') + pg_total_relation_size('fastq.lease_3') as lease_bytes,
       (select sum(pg_total_relation_size(c.oid))::int8 from pg_class c
         where c.relnamespace = 'fastq'::regnamespace and c.relkind = 'r' and not starts_with(c.relname, 'lease_')
           and not starts_with(c.relname, 'ready_')) as other_bytes
