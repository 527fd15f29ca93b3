-- The leases of one worker, each with the places of its jobs that are done: for finding those whose claim committed
-- while the connection broke, and those whose ack was lost in a crash of the server.
-- Function: list_leases(shard int4, worker int8) returns (id int8, segment int2, queue text, priority int2, group_key text,
-- batch bytea, packet int8, first int8, jobs int2, task text, enqueued_ms int8, meta text, payloads bytea, done int2[]).
-- Locks: none. Index: lease scan, progress_pkey. Caller: protocol.leases.
select l.id, l.segment, l.queue, l.priority, l.group_key, l.batch, l.packet, l.first, l.jobs, l.task, l.enqueued_ms, l.meta::text as meta,
       case when l.packet is not null then (select k.payloads from fastq.packet k where k.shard = %(shard)s and k.pos = l.packet limit 1) end
         as payloads,
       l.done || array(select p.ord from fastq.progress p where p.shard = %(shard)s and p.lease = l.id and p.completed) as done
from fastq.lease l
where l.shard = %(shard)s and l.worker = %(worker)s
