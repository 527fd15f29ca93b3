"""`fastq.backlog`: one number for those who scale."""

from __future__ import annotations

import pytest
from packed_jobs import pack
from scene import LANE, Conn, ask, hire, put, take

pytestmark = pytest.mark.protocol


async def backlog(conn: Conn, call: str = "") -> int:
    """Ask."""
    ((jobs,),) = await ask(conn, f"select fastq.backlog({call})")
    return int(jobs)


async def test_what_is_ready_and_what_runs(conn: Conn) -> None:
    """Single jobs and packets, of a queue or of all; what waits for a time or is kept is none of it."""
    assert await backlog(conn) == 0
    await put(conn, "{}", "{}", "{}")
    await put(conn, "{}", lane=LANE._replace(queue="mail"))
    await pack(conn, 300)
    await ask(conn, "select fastq.enqueue('t', delay => '1 hour')")
    await take(conn, await hire(conn), limit=2)
    assert await backlog(conn) == 304
    assert [await backlog(conn, f"'{queue}'") for queue in ("default", "mail", "nobody")] == [303, 1, 0]


async def test_no_more_is_counted_than_was_wanted(conn: Conn) -> None:
    """Whatever the backlog, it takes no longer."""
    await put(conn, *["{}"] * 10)
    assert await backlog(conn, "'default', 3") == 3
