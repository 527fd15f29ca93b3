-- The tables of fastq that this role may not read.
-- Locks: none. Index: none. Caller: insights.facts.
select c.relname::text as name
from pg_class c
where c.relnamespace = 'fastq'::regnamespace and c.relkind in ('r', 'p', 'v') and not has_table_privilege(c.oid, 'select')
order by 1
