"""The tasks that workers have: for those who look at jobs, and for whoever asks why a job waits for nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.protocol.asking import Request
from fastq.sql import statement

SEEN_EVERY_S = 3600.0
"""So often workers say that they still have a task; to be called more often, this writes nothing."""


async def register(conn: AsyncConnection[Any], tasks: Mapping[str, Sequence[str]], *, owner: str) -> None:
    """Make known the tasks of an app, each with the names of arguments that nobody shall see."""
    rows = [{"name": name, "redact": list(redact)} for name, redact in sorted(tasks.items())]
    params = {"tasks": orjson.dumps(rows).decode(), "owner": owner, "every_s": SEEN_EVERY_S}
    await conn.execute(statement("register_tasks"), params)


def redactions() -> Request[dict[str, frozenset[str]]]:
    """Return the names of arguments that nobody shall see, by task."""
    return Request("list_redactions", {}, lambda rows: {name: frozenset(redact) for name, redact in rows})
