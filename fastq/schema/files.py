"""The files of `migrations/`: numbered ones for tables, and functions and views, which are created again on change.

The functions that are the protocol are made of the statements of `fastq/sql`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastq.sql import function_files

_SUITS = re.compile(r"^-- Suits: (\d+)$", re.MULTILINE)
_MAKES = re.compile(r"^create or replace (function|view) fastq\.(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A numbered file, which is applied once."""

    version: int
    name: str
    sql: str

    @property
    def suits(self) -> int | None:
        """Return the oldest schema whose workers and producers can go on with this one; None: it is this one."""
        found = _SUITS.search(self.sql)
        return None if found is None else int(found[1])

    @property
    def checksum(self) -> str:
        """Return what tells whether an applied migration is the one we have."""
        return _checksum(self.sql)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A file of functions or of a view, which may be run again and again."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return what tells whether a database has this text."""
        return _checksum(self.sql)

    @property
    def makes(self) -> tuple[str, ...]:
        """Return what the file makes, such as "function cancel", each name once."""
        return tuple(dict.fromkeys(f"{kind} {name}" for kind, name in _MAKES.findall(self.sql)))


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order."""
    found = sorted(_folder().glob("[0-9]*.sql"))
    return tuple(
        Migration(version=int(p.stem.split("_", 1)[0]), name=p.stem.split("_", 1)[1], sql=p.read_text("utf-8"))
        for p in found
    )


@cache
def definitions() -> tuple[Definition, ...]:
    """Return all functions, then the views, which need them, then the protocol; each in the order of the names."""
    made = [
        Definition(name=f"{kind}/{p.stem}", sql=p.read_text("utf-8"))
        for kind in ("functions", "views")
        for p in sorted((_folder() / kind).glob("*.sql"))
    ]
    return (*made, *(Definition(name=f"protocol/{name}", sql=sql) for name, sql in function_files().items()))


def entrances() -> str:
    """Return what creates, on a cluster, the functions of people and producers, which ask the shards."""
    return (_folder() / "cluster" / "entrances.sql").read_text("utf-8")


def newest() -> int:
    """Return the schema version that this code needs."""
    return migrations()[-1].version


@cache
def _folder() -> Path:
    """Return the folder of all this: a wheel has it beside this file, a checkout at its top."""
    here = Path(__file__).parent
    return next(d for d in (here / "migrations", here.parents[1] / "migrations") if d.is_dir())


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()[:16]
