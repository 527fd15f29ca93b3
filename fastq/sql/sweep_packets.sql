-- Delete up to `limit` packets of a segment that no row names any more; returns how many.
-- In one snapshot, in which every job of a packet that is left is in one of the three places.
-- `offset 0` keeps the probes from becoming joins with whole tables.
-- Function: sweep_packets(shard int4, segment int2, limit int8) returns (packets int8).
-- Locks: packet rows by delete. Index: packet_*_pkey, ready_*_shard_packet_idx, lease_*_shard_packet_idx, scheduled_packet.
-- Caller: protocol.rotate.
with orphan as materialized (
  select k.pos from fastq.packet k
  where k.segment = %(segment)s and k.shard = %(shard)s
    and not exists (select from fastq.ready r where r.shard = %(shard)s and r.packet = k.pos offset 0)
    and not exists (select from fastq.lease l where l.shard = %(shard)s and l.packet = k.pos offset 0)
    and not exists (select from fastq.scheduled s where s.shard = %(shard)s and s.packet = k.pos offset 0)
  limit %(limit)s
),
gone as (
  delete from fastq.packet k
  where k.segment = %(segment)s and k.shard = %(shard)s and k.pos = any (array(select o.pos from orphan o))
  returning 1
)
select count(*) as packets from gone g
