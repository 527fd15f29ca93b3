-- Keep a lease from being deleted or reaped until this transaction ends; no row when it is gone, or the job is done.
-- Function: hold_lease(shard int4, lease int8, ord int2) returns (id int8).
-- Locks: the lease row key share (an ack of its neighbours goes on, a reaper waits). Index: lease_pkey, progress_pkey.
-- Caller: protocol.completion.
select l.id from fastq.lease l
where l.shard = %(shard)s and l.id = %(lease)s and %(ord)s <> all (l.done)
  and not exists (select from fastq.progress p
                  where p.shard = %(shard)s and p.lease = %(lease)s and p.ord = %(ord)s and p.completed)
for key share
