"""The queue's protocol: one small function per statement, and the rules they keep.

1. A job is in exactly one table. Every statement that moves it deletes and inserts in one transaction.
2. A claimed job belongs to its lease row. Acks, settlements and checkpoints name the lease; when the row is gone
   they change nothing, return nothing, and the caller counts the outcome as lost. Nothing is retried then.
3. A lease belongs to a worker row. A claim locks that row (key share), a reaper locks it (update): a lease of a worker
   that was reaped cannot come to be. A reaper locks the leases before it looks at what is unfinished in them.
4. Only the database's clock decides. A worker past its `expires_at` claims nothing; it may be renewed until reaped.
5. An outcome counts once. A completion in the handler's own transaction is written beside the lease, and whatever
   settles, reaps or adopts the job later sees it.
6. What a crash of the server may undo is only what can be done again: claims and acks. Settlements, registrations and
   blocks of lease ids are durable when they are answered, so no id is given out twice and no job leaves its lease for
   a place that is gone after the crash.
7. Any segment of ready may receive a row at any time; discovery looks at all of them.
8. A unique key is taken in the transaction that enqueues its job, and given back in the one that ends it. Who ends a
   job never waits for a key; what that leaves behind is swept: a key whose job is in no table where jobs wait or run.

Rules 1 to 6 are modelled, with crashes, lost answers and frozen workers, in `tests/model` (docs/model.md), and driven
against the real statements by `tests/protocol/test_state_machine.py`.

Imports psycopg and `fastq.sql`; knows nothing of tasks, processes or event loops.
"""
