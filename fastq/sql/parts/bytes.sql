-- About how many bytes a row `r` of ready brings along.
case when r.jobs is not null then %(packet_bytes)s
     when pg_column_compression(r.payload) is null then pg_column_size(r.payload)
     else octet_length(r.payload::text) end
