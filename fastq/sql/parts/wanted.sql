-- Whether a ready job `r` is of a task that the worker has; no `hot` at all: any task will do.
-- A few names are compared one by one, 0.05 µs a job; the others are looked up in a hash, which is not made before a job
-- is of none of the few: 0.8 µs a job with 300 names, where comparing takes 3.4.
(%(hot)s::text[] is null or r.task = any (%(hot)s::text[]) or r.task in (select unnest(%(known)s::text[])))
