"""The hot statements as functions of the database, made from the same text.

A statement whose header has a line `Function: name(parameter type, …) returns (column type, …).` is one: the first
parameter is the shard, and rows of no other shard are named. A statement of a segment is a function per segment, which
ends in its number. docs/protocol.md says who calls them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(r"Function: (\w+)\((.*?)\) returns \((.*?)\)\.")
_SETTING = re.compile(r"set (\w+) = ([\w.]+)")

Typed = tuple[tuple[str, str], ...]
"""Names and their types."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function, as its statement's header declares it."""

    name: str
    params: Typed
    columns: Typed

    def of(self, segment: int | None) -> str:
        """Return the name of the one for a segment, if it has one."""
        return f"fastq.{self.name}" if segment is None else f"fastq.{self.name}_{segment}"

    def call(self, segment: int | None) -> str:
        """Return a statement that calls it, with the parameters of the text that it stands for."""
        arguments = ", ".join(f"%({name})s::{kind}" for name, kind in self.params)
        return f"select {', '.join(f'f.{name}' for name, _ in self.columns)} from {self.of(segment)}({arguments}) f"  # noqa: S608 - our own names

    def create(self, text: str, segment: int | None, settings: str) -> str:
        """Return what creates it anew from `text`, to run with `settings`, whatever the session's are."""
        places = {name: f"${place}" for place, (name, _) in enumerate(self.params, 1)}
        body = re.sub(r"%\((\w+)\)s", lambda found: places[found[1]], text).replace("%%", "%")
        params = ", ".join(f"p_{name} {kind}" for name, kind in self.params)
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        fixed = "".join(f"set {name} = {value}\n" for name, value in _SETTING.findall(settings))
        return (
            f"drop function if exists {self.of(segment)};\n"
            f"create or replace function {self.of(segment)}({params}) returns table ({columns}) language plpgsql\n"
            f"{fixed}as $fastq$\n#variable_conflict use_column\nbegin\nreturn query\n{body};\nend $fastq$;"
        )


def declared(header: str) -> Function | None:
    """Return the function that a statement's header declares, if any."""
    found = _HEADER.search(header)
    return None if found is None else Function(found[1], _typed(found[2]), _typed(found[3]))


def _typed(text: str) -> Typed:
    pairs = (each.split() for each in text.split(", ") if each)
    return tuple((name, kind) for name, kind in pairs)
