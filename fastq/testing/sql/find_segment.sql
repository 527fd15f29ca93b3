-- The segment in which a job that was just enqueued stands.
-- Locks: none. Index: ready_*_pkey. Caller: testing.rehearsal.
select r.segment from fastq.ready r
where r.shard = %(shard)s and r.queue = %(queue)s and r.priority = %(priority)s and r.group_key = %(group_key)s
  and r.pos = %(pos)s
