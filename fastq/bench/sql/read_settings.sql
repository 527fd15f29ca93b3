-- The settings of the server that decide about speed.
-- Locks: none. Index: none. Caller: bench.machine.
select s.name, current_setting(s.name) from pg_settings s where s.name = any (%(names)s::text[]) order by s.name
