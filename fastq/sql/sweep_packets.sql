-- Delete up to `limit` packets whose jobs did not go together and of which none is left; returns how many.
-- In one snapshot, in which every job of a packet that is left is in one of the three places.
-- `offset 0` keeps the probes from becoming joins with whole tables.
-- Function: sweep_packets(shard int4) returns (packets int8).
-- Locks: packet rows by delete. Index: packet_*_shard_pos_idx, ready_*_shard_packet_idx, lease_*_shard_packet_idx,
-- scheduled_packet. Caller: protocol.upkeep.
with gone as (
  delete from fastq.packet k
  where k.shard = %(shard)s and k.cut
    and not exists (select from fastq.ready r where r.shard = %(shard)s and r.packet = k.pos offset 0)
    and not exists (select from fastq.lease l where l.shard = %(shard)s and l.packet = k.pos offset 0)
    and not exists (select from fastq.scheduled s where s.shard = %(shard)s and s.packet = k.pos offset 0)
  returning 1
)
select count(*) as packets from gone g
