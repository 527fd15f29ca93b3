-- Add what this host's workers have counted since the last time to the present minute of the fleet.
-- Locks: the minute's row by upsert. Index: history_pkey. Caller: protocol.history.
insert into fastq.history as h (at, queue, claimed, succeeded, failed, retried, returned, lost)
values (date_trunc('minute', now()), '', %(claimed)s, %(succeeded)s, %(failed)s, %(retried)s, %(returned)s, %(lost)s)
on conflict (span_s, at, queue) do update set
  claimed = h.claimed + excluded.claimed, succeeded = h.succeeded + excluded.succeeded, failed = h.failed + excluded.failed,
  retried = h.retried + excluded.retried, returned = h.returned + excluded.returned, lost = h.lost + excluded.lost
