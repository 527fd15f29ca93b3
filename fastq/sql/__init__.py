"""The statements, one to a file, and how they are read.

A file is headed by its purpose, the locks it takes, the index it uses and its caller. `{segment}` in a file stands
for the number of a segment: `statement(name, segment)` gives the text for one; `{table}` for one of its tables. What
several statements have in common is a file of `parts/`, for which its name stands in braces; `{of}` in it is the ending
of a segment's tables.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from fastq.sql.functions import Function, declared
from fastq.sql.naming import named, when_schema_changes

SEGMENTS = 4

BY_INDEX = (
    "set enable_seqscan = off; set enable_bitmapscan = off; "
    "set random_page_cost = 0.01; set cpu_operator_cost = 0.1; "
    "set plan_cache_mode = force_generic_plan; set jit = off"
)
"""Settings of a session that runs these statements.

Each has its index, and reads rows whose addresses it knows by their addresses. A plan that was cached while a table was
empty must do so too, when all ways cost the same: hence the costs. As there is one right plan, none is made twice:
planning a look at all lanes takes five times the look.
"""

BY_FUNCTION = os.environ.get("FASTQ_FUNCTIONS") == "1"
"""Call the functions of the database where there are any, instead of sending their text: docs/protocol.md."""

_cluster = False
_OWN = ("segment", "table", "of")


def on_cluster() -> bool:
    """Tell whether this process works on a cluster, where each call names its shard, and functions do the work."""
    return _cluster


def use_cluster() -> None:
    """Let all statements of this process from now on be those for a cluster: they work on one server, too."""
    global BY_FUNCTION, _cluster  # noqa: PLW0603 - one process has one database
    if not _cluster:
        BY_FUNCTION = _cluster = True
        _forget()


def planner(*, cluster: bool) -> str:
    """Return the settings of a session: on a cluster a plan must be made for the shard that it names."""
    return "set plan_cache_mode = force_custom_plan; set jit = off" if cluster else BY_INDEX


@cache
def _lines(path: str) -> tuple[str, ...]:
    return tuple(files(__package__).joinpath(path).read_text("utf-8").splitlines())


def _text(path: str) -> str:
    return "\n".join(line for line in _lines(path) if not line.lstrip().startswith("--")).strip()


def _part(found: re.Match[str]) -> str:
    return found[0] if found[1] in _OWN else _text(f"parts/{found[1]}.sql")


@cache
def statement(name: str, segment: int | None = None, *, table: str = "") -> LiteralString:
    """Return what is sent for `name`.sql: its text, or a call of the function that has this text."""
    if BY_FUNCTION and (function := function_of(name)) is not None:
        return named(function.call(segment))
    return named(text_of(name, segment, table=table))


@cache
def text_of(name: str, segment: int | None = None, *, table: str = "") -> LiteralString:
    """Return the text of `name`.sql as it stands there, without its comments (psycopg caches only short texts)."""
    text = re.sub(r"\{(\w+)\}", _part, _text(f"{name}.sql"))
    text = text.replace("{of}", "" if segment is None else f"_{segment}")
    if segment is not None:
        text = text.replace("{segment}", str(segment))
    return text.replace("{table}", table) if table else text


@cache
def over_segments(name: str, *, shards: bool = False) -> LiteralString:
    """Return `name`.sql for every segment at once, joined by union all; with `shards`, as `over_shards` does it."""
    each = over_shards if shards else statement
    return "\nunion all\n".join([f"({each(name, segment)})" for segment in range(SEGMENTS)])


@cache
def over_shards(name: str, segment: int | None = None) -> LiteralString:
    """Return `name`.sql for all of the parameter `shards` at once; a row begins with its shard. For looks only."""
    return _each_shard(statement(name, segment))


@cache
def call_over_shards(name: str) -> LiteralString:
    """Return calls of the function that `name`.sql is, for all of the parameter `shards`; their rows begin with it."""
    function = function_of(name)
    if function is None:
        raise AssertionError(f"{name} is no function")
    return _each_shard(named(function.call(None)))


def _each_shard(text: LiteralString) -> LiteralString:
    one = text.replace("%(shard)s", "sh.shard")
    return f"select sh.shard, f.* from unnest(%(shards)s::int4[]) as sh(shard) cross join lateral (\n{one}\n) f"  # noqa: S608 - our own text


def _forget() -> None:
    """Throw away what was made for another kind of database, or for another schema."""
    for kept in (statement, over_segments, over_shards, call_over_shards):
        kept.cache_clear()


when_schema_changes(_forget)


@cache
def numbered(text: LiteralString) -> tuple[bytes, tuple[str, ...]]:
    """Return a statement with its parameters as $1, $2 …, and their names in this order, for a raw cursor.

    That spares psycopg the conversion, which it does not remember of texts as long as a look over all segments: 0.1 ms.
    """
    order = tuple(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    raw = re.sub(r"%\((\w+)\)s", lambda found: f"${order.index(found[1]) + 1}", text)
    return raw.replace("%%", "%").encode(), order


@cache
def function_of(name: str) -> Function | None:
    """Return the function that `name`.sql is, too, if it is one."""
    header = (line.removeprefix("-- ") for line in _lines(f"{name}.sql") if line.startswith("--"))
    return declared(" ".join(header))


def function_files() -> dict[str, str]:
    """Return of each statement that is a function, too, what creates it for all segments that it has."""
    found = {name: function for name in names() if (function := function_of(name)) is not None}
    return {name: "\n\n".join(_created(name, function)) for name, function in found.items()}


def _created(name: str, function: Function) -> list[str]:
    segments = range(SEGMENTS) if "{segment}" in "".join(_lines(f"{name}.sql")) else (None,)
    return [function.create(text_of(name, segment), segment, BY_INDEX) for segment in segments]


def names() -> list[str]:
    """Return the names of all statements."""
    return sorted(
        entry.name.removesuffix(".sql") for entry in files(__package__).iterdir() if entry.name.endswith(".sql")
    )
