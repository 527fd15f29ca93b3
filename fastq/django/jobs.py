"""The app whose jobs are in a database of Django's: tasks of fastq's own kind, and Django's tasks beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections

import fastq
from fastq.django.databases import dsn_of, with_fresh_connections
from fastq.host.seats import Seats
from fastq.job import JobRef, JobSpec
from fastq.job_ids import JobIds
from fastq.postgres.connections import AnyConnection


class App(fastq.App):
    """A `fastq.App` in a database of Django's. It need not be opened: it connects when it is used.

    What synchronous code enqueues is part of the transaction that is open in that database, and there if it commits.

    Args:
        using: the alias of the database in Django's DATABASES.
        options: those of `fastq.App`.

    Example:
        >>> from fastq.django import app
        >>> @app.task(queue="mail", retries=5)
        ... def welcome(user_id: int) -> None:
        ...     send_mail("Welcome", "Hello!", None, [User.objects.get(pk=user_id).email])

    """

    opens_itself = True

    def __init__(self, using: str = DEFAULT_DB_ALIAS, **options: Any) -> None:
        self.using = using
        self._given: str | None = None
        super().__init__(None, **options)

    @property
    def dsn(self) -> str | None:
        """The DSN of Django's database, unless another one was set."""
        return self._given or dsn_of(self.using)

    @dsn.setter
    def dsn(self, dsn: str | None) -> None:
        self._given = dsn

    @asynccontextmanager
    async def serving(self, dsn: str, seats: Seats | None = None) -> AsyncIterator[Self]:
        """Open the app inside a worker; in the end close what asynchronous tasks have used of Django's."""
        async with super().serving(dsn, seats):
            try:
                yield self
            finally:
                await sync_to_async(connections.close_all)()

    def enqueue_sync(self, spec: JobSpec, *, conn: AnyConnection | None = None) -> JobRef:
        """As of `fastq.App`, but in the transaction of Django's that is open, if there is one."""
        return super().enqueue_sync(spec, conn=connections[self.using] if conn is None else conn)

    def enqueue_many_sync(
        self,
        specs: Iterable[JobSpec],
        *,
        conn: AnyConnection | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JobIds:
        """As of `fastq.App`, but in the transaction of Django's that is open, if there is one."""
        return super().enqueue_many_sync(
            specs, conn=connections[self.using] if conn is None else conn, progress=progress
        )

    def enqueue_at_once(self, specs: list[JobSpec]) -> Sequence[int]:
        """Enqueue jobs that are there at once, whatever becomes of any transaction of Django's; returns their ids."""
        return super().enqueue_many_sync(specs)

    def handler(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return what workers call for a function: that, between two looks at Django's connections."""
        return with_fresh_connections(fn)


app = App()
_apps = {DEFAULT_DB_ALIAS: app}


def app_in(using: str) -> App:
    """Return the app of a database."""
    return _apps.setdefault(using, app if using == DEFAULT_DB_ALIAS else App(using))
