"""Django's databases, as fastq needs them: their DSN, and their connections around a job."""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections
from psycopg.conninfo import make_conninfo

from fastq.postgres.connections import LIBPQ


def dsn_of(alias: str) -> str:
    """Return the DSN of a database of Django's; in its tests, that of the test database.

    Raises:
        ImproperlyConfigured: it is no PostgreSQL, or Django uses it with psycopg2.

    """
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"fastq keeps jobs in PostgreSQL; the database {alias!r} is {connection.display_name}"
        )
    params = connection.get_connection_params()
    return make_conninfo(**{name: value for name, value in params.items() if name in LIBPQ and value is not None})


def refresh() -> None:
    """Close connections of this thread that are old or broken, as Django does around each request.

    One that the server has closed is found before its next use: it has something to read, though nobody asked.
    """
    close_old_connections()
    for connection in connections.all(initialized_only=True):
        inner = connection.connection
        if inner is None or connection.in_atomic_block or inner.closed:
            continue
        waiting = select.poll()
        waiting.register(inner.fileno(), select.POLLIN)
        if waiting.poll(0) and not connection.is_usable():
            connection.close()


def with_fresh_connections(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Let a job have connections that work, and leave some to the next one."""
    if iscoroutinefunction(handler):
        refresh_async = sync_to_async(refresh)

        @wraps(handler)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            await refresh_async()
            try:
                return await handler(*args, **kwargs)
            finally:
                await refresh_async()

        return run_async

    @wraps(handler)
    def run(*args: Any, **kwargs: Any) -> Any:
        refresh()
        try:
            return handler(*args, **kwargs)
        finally:
            refresh()

    return run
