-- Let no checkpoint that was due before the run fall into it. Needs pg_checkpoint; done without where it lacks.
-- Locks: none. Index: none. Caller: bench.ground.
checkpoint
