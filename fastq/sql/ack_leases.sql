-- Delete leases whose jobs are all finished, with the packets that were theirs alone and with what their jobs made durable;
-- returns those that were still ours.
-- `acks` are in order. Their range says nothing new, but before PostgreSQL 17 a plan that was made while the table was
-- small reads every lease for `any` alone.
-- Function: ack_leases(shard int4, worker int8, acks int8[]) returns (id int8).
-- Locks: lease, packet and progress rows by delete. Index: lease_pkey, packet_*_pkey, progress_pkey. Caller: protocol.ack.
with {acked}
select a.id from acked a
