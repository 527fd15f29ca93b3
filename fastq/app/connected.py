"""An app's connections: opened and closed with it, in a program, a web server or a worker."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from fastq.client import AsyncClient, Clients, SyncClient
from fastq.config import SHARED_IDLE_S, ProducerConfig, find_dsn
from fastq.host.seats import Seats
from fastq.postgres import database


class Connected:
    """Holds the clients of an app while it is open: for asynchronous calls, for synchronous ones, or for both."""

    opens_itself = False
    """Whether the app is opened by its first call, for as long as the process lives. Its `dsn` has to be known."""

    def __init__(self, dsn: str | None, producer: ProducerConfig) -> None:
        self.dsn = dsn
        self.producer = producer
        self.payload_limit_bytes = producer.payload_limit_bytes
        self._clients = Clients(
            producer, lambda: database.reachable(find_dsn(self.dsn)), opens_itself=self.opens_itself
        )

    async def __aenter__(self) -> Self:
        """Open the app for asynchronous calls, from any event loop."""
        await self._clients.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Send what waits and disconnect, unless the app was open before."""
        await self._clients.close()

    @asynccontextmanager
    async def serving(self, dsn: str, seats: Seats | None = None) -> AsyncIterator[Self]:
        """Open the app inside a worker, which has looked at the schema: connections only while a handler wants them.

        With `seats`, no more than all workers of the host may have together.
        """
        idle_s = self.producer.pool.idle_s if seats is None else min(SHARED_IDLE_S, self.producer.pool.idle_s)
        pool = dataclasses.replace(self.producer.pool, keep=0, idle_s=idle_s, seats=seats)
        config = dataclasses.replace(self.producer, pool=pool)
        before, self._clients = self._clients, Clients(config, lambda: dsn, suits=True)
        try:
            await self._clients.open(connect=False)
            self._clients.open_sync(connect=False)
            yield self
        finally:
            mine, self._clients = self._clients, before
            await mine.close()
            mine.close_sync()

    def __enter__(self) -> Self:
        """Open the app for synchronous calls, from any thread."""
        self._clients.open_sync()
        return self

    def __exit__(self, *exc: object) -> None:
        """Disconnect, unless the app was open before."""
        self._clients.close_sync()

    @property
    def client(self) -> AsyncClient:
        """The client for asynchronous calls.

        Raises:
            NotOpen: the app is not open.

        """
        return self._clients.asynchronous

    @property
    def sync_client(self) -> SyncClient:
        """The client for synchronous calls.

        Raises:
            NotOpen: the app is not open.

        """
        return self._clients.synchronous
