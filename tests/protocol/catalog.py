"""What the server's catalog says of the schema, to compare two databases by."""

from __future__ import annotations

from typing import Any

import psycopg

_FASTQ = "'fastq'::regnamespace"
_QUERIES = {
    "columns": f"""select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attstorage, a.attcompression, a.attcollation::regcollation::text
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where c.relnamespace = {_FASTQ}""",
    "relations": f"""select c.relname, c.relkind, c.reloptions, c.relacl::text, pg_get_partkeydef(c.oid),
        pg_get_expr(c.relpartbound, c.oid), (select t.reloptions from pg_class t where t.oid = c.reltoastrelid)
        from pg_class c where c.relnamespace = {_FASTQ}""",
    "indexes": f"""select pg_get_indexdef(i.indexrelid), i.indisprimary
        from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = {_FASTQ}""",
    "constraints": f"""select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = {_FASTQ} and contype <> 'n'""",
    "functions": f"""select oid::regprocedure::text, pg_get_functiondef(oid), proacl::text
        from pg_proc where pronamespace = {_FASTQ}""",
    "views": "select viewname, definition from pg_views where schemaname = 'fastq'",
    "sequences": "select sequencename, data_type::text, start_value, increment_by, cache_size from pg_sequences"
    " where schemaname = 'fastq'",
    "settings": "select name, value::text from fastq.setting",
}


def read(conn: psycopg.Connection[Any]) -> dict[str, set[tuple[Any, ...]]]:
    """Return columns, relations with their rights, indexes, constraints, functions, views, sequences and settings."""
    return {
        what: {tuple(map(str, row)) for row in conn.execute(query.encode()).fetchall()}
        for what, query in _QUERIES.items()
    }


def differ(one: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what only one of two databases has."""
    first, second = read(one), read(other)
    return {what: sorted(first[what] ^ second[what]) for what in first if first[what] != second[what]}
