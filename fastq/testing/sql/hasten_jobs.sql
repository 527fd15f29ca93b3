-- Let jobs that wait for these reasons wait no longer; returns how many there are.
-- Locks: scheduled rows for update. Index: none (a test's database is small). Caller: testing.draining.
with due as (
  update fastq.scheduled s set run_at = least(s.run_at, now())
  where s.shard = %(shard)s and s.reason = any (%(reasons)s)
  returning s.id
)
select count(*) from due d
