-- Take a block of 65536 lease ids; returns the first. Durable whatever the connection's setting: an id that a crash of the
-- server gives out again would let one worker acknowledge what another holds.
-- Function: take_lease_ids() returns (first int8, durable text).
-- Locks: none. Index: none. Caller: protocol.claim.
select nextval('fastq.lease_id') as first, set_config('synchronous_commit', 'on', true) as durable
