-- Look again, now that nobody can insert: a job that was committed before the lock is seen here.
-- Locks: held by lock_segment. Index: none. Caller: protocol.rotate.
select not exists (select from fastq.ready_{segment})
   and not exists (select from fastq.ring r where r.head = {segment}) as empty
