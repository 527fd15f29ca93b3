-- Suits: 18
-- Jobs go to all shards from here on: those that are tied to others, by a unique key or an ordered line, to the shard that the
-- hash of their tie names. The functions and settings of that are in functions/shards.sql.

-- On a cluster: the texts of the functions, from which a node makes those of the shards that it has; see functions/cluster.sql.
create table fastq.template (n int4 primary key, name text not null, sql text not null);
