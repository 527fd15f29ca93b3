"""Decides what a database lacks, purely: from what it says it has to the steps that bring it up to date.

A step is SQL with its own bookkeeping, so that `fastq migrate` and a DBA's script run the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fastq.errors import SchemaError
from fastq.schema import adoption
from fastq.schema.files import Definition, Migration, definitions, migrations, newest
from fastq.sql.naming import schema


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a database says it has."""

    versions: Mapping[int, str] = field(default_factory=dict)
    """The checksum of each applied migration."""
    suits: Mapping[int, int] = field(default_factory=dict)
    """The oldest version that each of them suits."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """The checksum of each file of functions and views."""
    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What these files made then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    title: str
    sql: str


def steps(state: State) -> list[Step]:
    """Return what brings a database up to date, in order; nothing, if it is ahead of us and suits us.

    Raises:
        SchemaError: it belongs to a newer fastq, to one that is too old, or to another build.

    """
    _judge(state)
    if ahead(state) is not None:
        return []
    found: list[Step] = []
    versions, made = state.versions, state.made
    if adoption.is_schema_7(versions):
        found.append(Step(title="adopted schema 7", sql=adoption.sql(migrations()[0])))
        versions, made = {adoption.BECOMES: ""}, {adoption.NAME: adoption.MADE}
    found += [
        Step(title=f"applied {m.version:04d} {m.name}", sql=_apply(m))
        for m in migrations()
        if m.version not in versions
    ]
    stale = [d for d in definitions() if state.definitions.get(d.name) != d.checksum]
    gone = made.keys() - {d.name for d in definitions()}
    if stale or gone:
        found.append(Step(title=f"created {_names(stale)}", sql="\n".join(_define(stale, gone, made))))
    return found


def ahead(state: State) -> int | None:
    """Return the version of a database that a newer code has migrated; None: we know all its migrations."""
    found = max(state.versions, default=0)
    return found if found > newest() else None


def differing(state: State) -> list[str]:
    """Return the names of the files of functions and views that a database has otherwise, or lacks, or has too many.

    Those of a database that is ahead of us are not ours to judge.
    """
    if ahead(state) is not None:
        return []
    known = {d.name: d.checksum for d in definitions()}
    return sorted(n for n in known.keys() | state.definitions.keys() if known.get(n) != state.definitions.get(n))


def _judge(state: State) -> None:
    versions = state.versions
    found = max(versions, default=newest())
    if any(state.suits.get(version, version) > newest() for version in versions if version > newest()):
        raise SchemaError(newer(found))
    if found < adoption.BECOMES and not adoption.is_schema_7(versions):
        raise SchemaError(f"{adoption.refusal(found)}; {_no_way_out()}")
    for m in migrations():
        if versions.get(m.version, m.checksum) != m.checksum:
            raise SchemaError(
                f"migration {m.version} ({m.name}) was applied with other contents than this fastq has, so the"
                f" database belongs to a different build of fastq: use another one; {_no_way_out()}"
            )


def _no_way_out() -> str:
    return f"or, if its jobs may go, drop the schema {schema()} there (the embedded server: `fastq db reset`)"


def newer(found: int) -> str:
    """Say that a database is ahead of this code."""
    return f"the database has fastq schema {found}, this code knows {newest()}: upgrade fastq on this host"


def _apply(m: Migration) -> str:
    return f"-- {m.version:04d} {m.name}\n{m.sql.rstrip()}\n{adoption.record(m)}"


def _define(stale: list[Definition], gone: set[str], made: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Drop what no file makes any more, then create what changed."""
    kept = {thing for d in definitions() for thing in d.makes}
    before = {thing for name in gone for thing in made[name]}
    before |= {thing for d in stale for thing in made.get(d.name, ())}
    yield from (_drop(thing) for thing in sorted(before - kept, reverse=True))  # views before their functions
    yield from (f"delete from fastq.definition where name = '{name}';" for name in sorted(gone))  # noqa: S608 - our own
    for d in stale:
        makes = "{" + ",".join(d.makes) + "}"
        yield f"-- {d.name}\n{d.sql.rstrip()}"
        yield (
            f"insert into fastq.definition (name, checksum, makes) values ('{d.name}', '{d.checksum}', '{makes}')\n"  # noqa: S608
            "on conflict (name) do update set checksum = excluded.checksum, makes = excluded.makes, applied_at = now();"
        )


def _drop(thing: str) -> str:
    """Drop a view, or all functions of one name."""
    kind, name = thing.split()
    if kind == "view":
        return f"drop view if exists fastq.{name};"
    return f"""do $$
declare
  f regprocedure;
begin
  for f in select p.oid from pg_proc p where p.pronamespace = 'fastq'::regnamespace and p.proname = '{name}' loop
    execute 'drop function ' || f;
  end loop;
end $$;"""  # noqa: S608 - our own name


def _names(stale: list[Definition]) -> str:
    if len(stale) == len(definitions()):
        return "the functions and views"
    return ", ".join(d.name for d in stale) or "nothing, dropped what is no longer used"
