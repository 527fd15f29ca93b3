-- Suits: 18
-- Jobs go to all shards from here on: those that are tied to others, by a unique key or an ordered line, to the shard that the
-- hash of their tie names. The functions and settings of that are in functions/shards.sql.
select 1;
