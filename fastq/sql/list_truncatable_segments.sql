-- Segments that hold space, that no slot uses as its head, and that look empty.
-- Locks: none. Index: none (an emptied segment is a short scan, or a long one while vacuum cannot run: the caller paces
-- itself). Caller: protocol.rotate.
select s.segment
from (values (0, (select exists (select from fastq.ready_0))), (1, (select exists (select from fastq.ready_1))),
             (2, (select exists (select from fastq.ready_2))), (3, (select exists (select from fastq.ready_3)))
     ) as s(segment, used)
where not s.used
  and pg_relation_size(format('fastq.ready_%%s', s.segment)::regclass) > 0
  and not exists (select from fastq.ring r where r.head = s.segment)
