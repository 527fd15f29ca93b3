-- Free lines whose head is nowhere, and give those a head that have none, among `limit` lines from a place on; returns
-- how many there were, and the next place (null: that was the last).
-- Locks: head rows by upsert and for no key update skip locked. Index: line_pkey, head_pkey. Caller: protocol.ordered.
select m.mended, m.next_queue, m.next_group
from fastq.mend_lines(%(shard)s, %(from_queue)s, %(from_group)s, %(limit)s) m
