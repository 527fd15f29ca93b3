-- Note who changed what by the page.
-- Locks: none. Index: audit_pkey by insert. Caller: protocol.audit.
insert into fastq.audit (who, action, target, jobs) values (%(who)s, %(action)s, %(target)s, %(jobs)s)
returning id
