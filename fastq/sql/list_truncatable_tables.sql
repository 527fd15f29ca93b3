-- Tables of segments that hold space, that no shard uses as its head, and that look empty; of packets those that no row of
-- their segment names. Those come first: the head goes on to a segment whose table of jobs is free.
-- Locks: none. Index: ready_*_shard_packet_idx, lease_*_shard_packet_idx (an emptied segment is a short scan, or a long one
-- while vacuum cannot run: the caller paces itself; a segment of another kind is not scanned). Caller: protocol.rotate.
select t.name, t.segment
from (values ('packet_0', 0), ('packet_1', 1), ('packet_2', 2), ('packet_3', 3),
             ('ready_0', 0), ('ready_1', 1), ('ready_2', 2), ('ready_3', 3),
             ('lease_0', 0), ('lease_1', 1), ('lease_2', 2), ('lease_3', 3)) as t(name, segment)
where case
  when pg_relation_size(format('fastq.%%I', t.name)::regclass) = 0 then false
  when exists (select from fastq.ring r where r.head = t.segment) then false
  when t.name = 'packet_0' then not exists (select from fastq.ready_0 r where r.packet is not null)
                            and not exists (select from fastq.lease_0 l where l.packet is not null)
  when t.name = 'packet_1' then not exists (select from fastq.ready_1 r where r.packet is not null)
                            and not exists (select from fastq.lease_1 l where l.packet is not null)
  when t.name = 'packet_2' then not exists (select from fastq.ready_2 r where r.packet is not null)
                            and not exists (select from fastq.lease_2 l where l.packet is not null)
  when t.name = 'packet_3' then not exists (select from fastq.ready_3 r where r.packet is not null)
                            and not exists (select from fastq.lease_3 l where l.packet is not null)
  when t.name = 'ready_0' then not exists (select from fastq.ready_0)
  when t.name = 'ready_1' then not exists (select from fastq.ready_1)
  when t.name = 'ready_2' then not exists (select from fastq.ready_2)
  when t.name = 'ready_3' then not exists (select from fastq.ready_3)
  when t.name = 'lease_0' then not exists (select from fastq.lease_0)
  when t.name = 'lease_1' then not exists (select from fastq.lease_1)
  when t.name = 'lease_2' then not exists (select from fastq.lease_2)
  else not exists (select from fastq.lease_3)
end
