"""The queue's protocol: one small function per statement, and the rules they keep.

1. A job is in exactly one table. Every statement that moves it deletes and inserts in one transaction.
2. A claimed job belongs to its lease row. Acks, settlements and checkpoints name the lease; when the row is gone
   they change nothing, return nothing, and the caller counts the outcome as lost. Nothing is retried then.
3. A lease belongs to a worker row. A claim locks that row (key share), a reaper locks it (update): a lease of a worker
   that was reaped cannot come to be.
4. Only the database's clock decides: a worker row past its `expires_at` is never prolonged, only reaped.
5. Any segment of ready may receive a row at any time; discovery looks at all of them, from the beginning.

Imports psycopg and `fastq.sql`; knows nothing of tasks, processes or event loops.
"""
