"""The schema that this process works in, and its name in the statements, whose texts call it `fastq`.

One process has one schema: that of `--schema`, else the one that its app names, else FASTQ_SCHEMA's, else `fastq`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import LiteralString

from fastq.errors import UsageError

DEFAULT = "fastq"

_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,39}")
_SHARED = ("public", "information_schema")
_WORD = re.compile(r"(?m)^[ \t]*--.*$|(?:\b|(?<=\\m))fastq(?=\b|_s\b)")
"""A line of comment, which stays as it is; or the schema's name: a word, or what stands before `_s` and a shard."""


class _Named:
    """Who has named which schema, and what has to be told when that changes."""

    def __init__(self) -> None:
        self.option = ""
        self.app = ""
        self.changes: list[Callable[[], None]] = []

    def set(self, *, option: str = "", app: str = "") -> None:
        before = schema()
        self.option, self.app = option or self.option, app or self.app
        if schema() != before:
            for change in self.changes:
                change()


_named = _Named()


def schema() -> str:
    """Return the name of the schema.

    Raises:
        UsageError: FASTQ_SCHEMA is none.

    """
    return _named.option or _named.app or checked(os.environ.get("FASTQ_SCHEMA") or DEFAULT)


def use_schema(name: str) -> None:
    """Work in this schema, whatever an app or the environment say.

    Raises:
        UsageError: no schema of ours can have this name.

    """
    _named.set(option=checked(name))


def use_schema_of_app(name: str) -> None:
    """Work in the schema that an app names, unless `use_schema` has named one.

    Raises:
        UsageError: no schema of ours can have this name, or another app of this process has named another one.

    """
    if _named.app not in {"", name}:
        raise UsageError(
            f"another app of this process has schema={_named.app!r}: a process works in one, not in {name!r}, too"
        )
    _named.set(app=checked(name))


def when_schema_changes(change: Callable[[], None]) -> None:
    """Have something called whenever the schema changes: whoever keeps texts with its name throws them away."""
    _named.changes.append(change)


def checked(name: object) -> str:
    """Return the name of a schema if ours can have it: it stands in statements as it is.

    Raises:
        UsageError: it cannot.

    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _SHARED:
        raise UsageError(
            f"{name!r:.80} cannot be the schema: its name is up to 40 of a-z, 0-9 and _, begins with no digit and no"
            " pg_, and nothing else is in it"
        )
    return name


def named(text: LiteralString) -> LiteralString:
    """Return a text of ours with the name of the schema in it."""
    name = schema()
    if name == DEFAULT:
        return text
    return _WORD.sub(lambda found: name if found[0] == DEFAULT else found[0], text)
