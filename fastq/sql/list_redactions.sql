-- The names of arguments that nobody shall see, of tasks that have some.
-- Locks: none. Index: none, the table has a row per task. Caller: protocol.tasks.
select t.name, t.redact from fastq.task t where cardinality(t.redact) > 0
