-- The worker processes of all hosts, up to `limit`. Every shard has a row of each; those of one stand for all.
-- Somebody may have written infinity there: nobody has lived, or will live, for longer than a hundred years.
-- Locks: none. Index: worker_pkey. Caller: insights.survey.
select w.id, w.host, w.pid, w.name,
       extract(epoch from now() - greatest(now() - c.century, least(now() + c.century, w.started_at)))::float8 as age_s,
       extract(epoch from greatest(now() - c.century, least(now() + c.century, w.expires_at)) - now())::float8 as left_s,
       w.counters, w.about
from fastq.worker w cross join (select interval '100 years' as century) c
where w.shard = %(shard)s
order by w.host, w.id
limit %(limit)s
