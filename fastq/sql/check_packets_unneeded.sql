-- Look again, now that nobody can insert a packet: a row that names one and was committed before the lock is seen here. Such a
-- row comes from another one that did, in one commit, so that from no packet of a segment to one is no way but an insert.
-- Locks: held by lock_out_everybody. Index: ready_*_shard_packet_idx, lease_*_shard_packet_idx. Caller: protocol.rotate.
select not exists (select from fastq.ready_{segment} r where r.packet is not null)
   and not exists (select from fastq.lease_{segment} l where l.packet is not null)
   and not exists (select from fastq.ring r where r.head = {segment}) as empty
