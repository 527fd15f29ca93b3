"""One row for one statement, on connections that are not ours: whatever rows and cursors their owner has them make."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.rows import tuple_row

from fastq.sql import statement


async def ask(conn: AsyncConnection[Any], name: str, params: dict[str, Any] | None = None) -> tuple[Any, ...]:
    """Return the one row of a statement, whatever rows and cursors the connection's owner has it make."""
    cur = AsyncCursor(conn, row_factory=tuple_row)
    return await (await cur.execute(statement(name), params)).fetchone() or ()


def ask_sync(conn: Connection[Any], name: str, params: dict[str, Any] | None = None) -> tuple[Any, ...]:
    """As ask, on a synchronous connection."""
    return Cursor(conn, row_factory=tuple_row).execute(statement(name), params).fetchone() or ()
