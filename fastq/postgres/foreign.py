"""A connection of asyncpg's, as far as fastq writes on one: what a caller holds may be SQLAlchemy's over asyncpg."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cache
from typing import Any, LiteralString

from fastq.sql import numbered

_COPY = re.compile(r"copy (\w+)\.(\w+) \(([^)]*)\) from stdin(?: with \(format (\w+)\))?")


class ForeignConnection:
    """What `protocol.asking` needs of a connection, done by asyncpg."""

    __slots__ = ("_conn",)

    def __init__(self, conn: Any) -> None:
        self._conn = conn

    async def rows(self, text: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        raw, order = _raw(text)
        return [tuple(row) for row in await self._conn.fetch(raw, *(params[name] for name in order))]

    async def copy(self, command: str, chunks: Iterable[bytes]) -> None:
        """Send a COPY."""
        found = _COPY.fullmatch(command)
        if found is None:
            raise AssertionError(f"not a COPY as we write it: {command}")
        schema, table, columns, form = found.groups()
        await self._conn.copy_to_table(
            table,
            schema_name=schema,
            columns=[column.strip() for column in columns.split(",")],
            format=form or "text",
            source=_sent(chunks),
        )

    def transaction(self) -> Any:
        """Return a transaction, or a savepoint in the caller's."""
        return self._conn.transaction()


def foreign(conn: object) -> ForeignConnection | None:
    """Return a connection of asyncpg's, or of a pool of its, for us to write on; None if it is something else."""
    asyncpg = sys.modules.get("asyncpg")
    if asyncpg is None or not isinstance(conn, (asyncpg.Connection, asyncpg.pool.PoolConnectionProxy)):
        return None
    return ForeignConnection(conn)


@cache
def _raw(text: LiteralString) -> tuple[str, tuple[str, ...]]:
    """Return a statement as asyncpg takes it. Its JSON is text: the caller may have taught asyncpg other ways."""
    raw, order = numbered(text)
    return re.sub(r"(\$\d+)::json\b", r"\1::text::json", raw.decode()), order


async def _sent(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
