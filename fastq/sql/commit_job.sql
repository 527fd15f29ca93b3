-- Put a reserved job into line: 'committed', 'before' when that was done before, 'gone' when there is no such reservation.
-- Locks: the scheduled row by delete (who expires it is waited for). Index: scheduled_pkey, committed_pkey.
-- Caller: protocol.reserve.
select fastq.commit_reserved(%(id)s::int8) as answer
