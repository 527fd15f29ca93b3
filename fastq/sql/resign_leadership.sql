-- Give the lead up at once, and tell the others, so that they need not wait for it to expire.
-- Locks: the leader row by delete. Index: leader_pkey. Caller: protocol.upkeep.
delete from fastq.leader l where l.name = 'steward' and l.holder = %(holder)s returning pg_notify('fastq', 'lead')::text as told
