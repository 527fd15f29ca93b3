-- Write down that one job of a lease is done, in the transaction of its handler; no row when it was done before.
-- Locks: the progress row by upsert. Index: progress_pkey. Caller: protocol.completion.
insert into fastq.progress as p (slot, lease, ord, completed) values (%(slot)s, %(lease)s, %(ord)s, true)
on conflict (slot, lease, ord) do update set completed = true, written_at = now() where not p.completed
returning p.ord
