"""Steering queues: pause, resume, purge. Their numbers are `protocol.survey`'s."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from fastq.protocol.asking import ask_sync


def pause(conn: Connection[Any], queue: str) -> bool:
    """Stop claims from a queue; what runs goes on. Returns False when it was paused already."""
    return bool(ask_sync(conn, "pause_queue", {"queue": queue})[0])


def resume(conn: Connection[Any], queue: str) -> bool:
    """Allow claims from a queue again. Returns False when it was not paused."""
    return bool(ask_sync(conn, "resume_queue", {"queue": queue})[0])


def purge(conn: Connection[Any], queue: str) -> int:
    """Delete all jobs of a queue that wait; those that run or are kept stay. Returns how many."""
    return int(ask_sync(conn, "purge_queue", {"queue": queue})[0])
