-- Begin the lines into which this transaction has put jobs, where they have no head; hold the heads of the others until its
-- end. `queues` and `groups` are parallel.
-- Locks: head rows by insert, else key share, in their order (fastq.begin_lines). Index: head_pkey. Caller: protocol.ordered.
select fastq.begin_lines(%(shard)s, %(queues)s::text[], %(groups)s::text[])
