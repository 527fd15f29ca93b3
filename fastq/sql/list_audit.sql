-- The last changes, the newest first.
-- Locks: none. Index: audit_pkey. Caller: protocol.audit.
select a.at, a.who, a.action, a.target, a.jobs from fastq.audit a order by a.id desc limit %(limit)s
