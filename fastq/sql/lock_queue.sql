-- On a cluster, whose nodes commit one after the other: let one claim of a queue with limits go on at a time until its commit is
-- through everywhere. Whoever holds it and is frozen loses its session after ten seconds.
-- Locks: an advisory lock of the session. Index: none. Caller: protocol.limits.
select pg_try_advisory_lock(hashtext('fastq limits'), hashtext(%(queue)s)), set_config('idle_session_timeout', '10s', false)
