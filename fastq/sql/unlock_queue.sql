-- Let the next claim of a queue go on.
-- Locks: gives up that of lock_queue. Index: none. Caller: protocol.limits.
select pg_advisory_unlock(hashtext('fastq limits'), hashtext(%(queue)s)), set_config('idle_session_timeout', '0', false)
