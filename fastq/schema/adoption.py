"""Takes over databases of the first checkouts, whose tables were made by migrations 1 to 7.

Their tables are those of migration 8, so only the bookkeeping changes and the functions are created again. A checkout
of that time finds a schema newer than its own, and refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastq.schema.files import Migration

BECOMES = 8
NAME = "schema 7"
_CHECKSUMS = {
    1: "54e732ae9edfc07b",
    2: "99b6abcabceb4793",
    3: "dc78caf43d9b5400",
    4: "b508e8e9025d0011",
    5: "716b0b28ac8b6e67",
    6: "d4bc675bda8628a7",
    7: "4b07a131f21cf258",
}
_FUNCTIONS = """abandon advance advance_idle at_ms begin_lines bring_up cancel cancel_jobs check_payload check_unique
    commit commit_reserved delete delete_jobs ended enqueue enqueue_many find has_error hold_keys leave_lines mend_lines
    meta_of meta_ordered ordered_of pause purge reserve reserve_job resume retry retry_jobs slots sweep_cancellations
    unique_of unpack without_crashes"""
MADE = (*(f"function {name}" for name in _FUNCTIONS.split()), "view job")


def is_schema_7(versions: Mapping[int, str]) -> bool:
    """Tell whether a database stands where the last of those checkouts left it."""
    return dict(versions) == _CHECKSUMS


def sql(m: Migration) -> str:
    """Return what replaces the bookkeeping of migrations 1 to 7 by that of `m`, which has the same tables."""
    assert m.version == BECOMES
    return f"-- schema 7 has the tables of {m.version:04d} {m.name}\ndelete from fastq.migration;\n{record(m)}"


def record(m: Migration) -> str:
    """Return what writes down that a migration was applied."""
    values = f"{m.version}, '{m.name}', '{m.checksum}', {'null' if m.suits is None else m.suits}"
    return f"insert into fastq.migration (version, name, checksum, suits) values ({values});"  # noqa: S608 - our own


def refusal(found: int) -> str:
    """Say why a database from before migration 8 is not taken over."""
    if found == max(_CHECKSUMS):
        return f"its schema {found} belongs to a different build of fastq: use another database"
    return (
        f"the database has fastq schema {found}, and this fastq takes over none before {max(_CHECKSUMS)}: run"
        " `fastq migrate` of the commit a9a5665 first"
    )
