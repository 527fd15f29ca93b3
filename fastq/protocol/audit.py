"""Who changed what by the page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from fastq.sql import statement


class Entry(NamedTuple):
    """One change; `jobs` is how many jobs it was about, where it was about jobs."""

    at: datetime
    who: str
    action: str
    target: str
    jobs: int | None


def write(conn: Connection[Any], *, who: str, action: str, target: str, jobs: int | None = None) -> None:
    """Note a change."""
    conn.execute(statement("write_audit"), {"who": who, "action": action, "target": target, "jobs": jobs})


def last(conn: Connection[Any], *, limit: int = 200) -> list[Entry]:
    """Return the last changes, the newest first."""
    return [Entry(*row) for row in conn.execute(statement("list_audit"), {"limit": limit}).fetchall()]
