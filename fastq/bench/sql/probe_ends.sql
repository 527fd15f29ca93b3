-- Whether the first and the last of the jobs still stand in line: two probes of the primary key, cheap at any backlog.
-- Locks: none. Index: ready_*_pkey. Caller: bench.ground.
select exists (select from fastq.ready r where r.shard = 0 and r.queue = %(queue)s and r.priority = %(priority)s
                 and r.group_key = '' and r.pos = %(first)s) as first,
       exists (select from fastq.ready r where r.shard = 0 and r.queue = %(queue)s and r.priority = %(priority)s
                 and r.group_key = '' and r.pos = %(last)s) as last
