-- Look again, now that nobody can insert a packet: a row that names one and was committed before the lock is seen here. After
-- that there can be no new one: only whoever inserts a packet names it for the first time, and a row that names one is
-- replaced by others in a single commit.
-- Locks: held by lock_out_everybody. Index: ready_*_shard_packet_idx, lease_*_shard_packet_idx. Caller: protocol.rotate.
select not exists (select from fastq.ready_{segment} r where r.packet is not null)
   and not exists (select from fastq.lease_{segment} l where l.packet is not null)
   and not exists (select from fastq.ring r where r.head = {segment}) as empty
