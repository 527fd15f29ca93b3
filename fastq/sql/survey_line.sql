-- The jobs of one ordered group, as they will run, from the one at its head on; of one that is not ordered, none.
-- Locks: none. Index: head_pkey, line_pkey. Caller: insights.neighbours.
select n.job, n.at_head
from fastq.ring r cross join lateral (
  select h.job, true as at_head from fastq.head h
  where h.shard = r.shard and h.queue = %(queue)s and h.group_key = %(group_key)s and h.job is not null
  union all
  (select l.pos, false from fastq.line l
   where l.shard = r.shard and l.queue = %(queue)s and l.group_key = %(group_key)s and not l.reserved
   order by l.pos limit %(limit)s)
) n
order by n.at_head desc, n.job
limit %(limit)s
