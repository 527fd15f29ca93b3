-- Look again, now that nobody can insert: a row that was committed before the lock is seen here.
-- Locks: held by lock_out_everybody. Index: none. Caller: protocol.rotate.
select not exists (select from fastq.{table})
   and not exists (select from fastq.ring r where r.head = %(segment)s) as empty
