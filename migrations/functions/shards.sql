-- Small things that others build on.

create or replace function fastq.shards() returns int language sql stable as
$$ select s.value::text::int from fastq.setting s where s.name = 'shards' $$;

create or replace function fastq.at_ms(ms int8) returns timestamptz language sql immutable as
$$ select timestamptz 'epoch' + ms * interval '1 millisecond' $$;
