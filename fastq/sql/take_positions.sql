-- Take `blocks` blocks of 1024 places in line; also says which segment new jobs go to and the database's time.
-- Function: take_positions(shard int4, blocks int4) returns (blocks int8[], head int2, now_ms int8).
-- Locks: none. Index: ring_pkey. Caller: protocol.copying.
select array_agg(nextval('fastq.pos')) as blocks, min(r.head) as head,
       (extract(epoch from clock_timestamp()) * 1000)::int8 as now_ms
from fastq.ring r cross join generate_series(1, %(blocks)s)
where r.shard = %(shard)s
