"""Steering queues: pause, resume, purge. Their numbers are `insights.survey`'s."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from fastq.protocol.asking import Request, carry_out_sync, only


def pause(conn: Connection[Any], queue: str) -> bool:
    """Stop claims from a queue; what runs goes on. Returns False when it was paused already."""
    return bool(carry_out_sync(conn, Request("pause_queue", {"queue": queue}, only)))


def resume(conn: Connection[Any], queue: str) -> bool:
    """Allow claims from a queue again. Returns False when it was not paused."""
    return bool(carry_out_sync(conn, Request("resume_queue", {"queue": queue}, only)))


def purge(conn: Connection[Any], queue: str) -> int:
    """Delete all jobs of a queue that wait; those that run or are kept stay. Returns how many."""
    return int(carry_out_sync(conn, Request("purge_queue", {"queue": queue}, only)))
