-- Wake the fleet: a hint only, workers poll behind it. It names the shards that new jobs are in, or none: any may have some.
-- Never inside an enqueueing transaction of ours, because NOTIFY
-- holds a cluster-wide lock from here to the end of the commit.
-- Locks: the notify lock. Index: none. Caller: protocol.upkeep.
select pg_notify('fastq', %(shards)s::text)
