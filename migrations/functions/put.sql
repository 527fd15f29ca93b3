-- The one way in for a job that is not written by the statements of producers and workers themselves.

-- Milliseconds since 1970, as of the transaction's start: a new job's enqueued_ms.
create or replace function fastq.now_ms() returns int8 language sql stable as $$ select (extract(epoch from now()) * 1000)::int8 $$;

-- Put a job into line, or let it wait until it is due. `pos` is its place, if it has one already: that of its id then.
create or replace function fastq.put_job(s int4, j fastq.a_job, due timestamptz, pos int8 default null) returns void
language plpgsql as $$
begin
  if due > clock_timestamp() then
    insert into fastq.scheduled (shard, id, run_at, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
    values (s, j.id, due, j.priority, j.attempt, j.enqueued_ms, j.queue, j.group_key, j.task, j.payload, j.meta);
  else
    insert into fastq.ready (segment, shard, pos, id, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta)
    values (coalesce((select r.head from fastq.ring r where r.shard = s), 0), s, coalesce(put_job.pos, nextval('fastq.pos')),
            case when put_job.pos is null then j.id end, j.priority, j.attempt, j.enqueued_ms, j.queue, j.group_key, j.task,
            j.payload, j.meta);
    perform pg_notify('fastq', s::text);
  end if;
end $$;

-- Put a job into its ordered line, in the place of its id, and begin the line where it has not begun.
create or replace function fastq.put_in_line(s int4, j fastq.a_job, due timestamptz, reserved boolean default false)
returns void language plpgsql as $$
begin
  insert into fastq.line (shard, pos, run_at, priority, enqueued_ms, queue, group_key, task, payload, meta, reserved)
  values (s, j.id, due, j.priority, j.enqueued_ms, j.queue, j.group_key, j.task, j.payload, j.meta, put_in_line.reserved);
  perform fastq.begin_lines(s, array[j.queue], array[j.group_key]);
end $$;
