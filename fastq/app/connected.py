"""An app's connections: opened and closed with it, in a program, a web server or a worker."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from fastq import database
from fastq.client import AsyncClient, SyncClient, needs_open
from fastq.config import find_dsn
from fastq.errors import UsageError


class Connected:
    """Holds the clients of an app while it is open: for asynchronous calls, for synchronous ones, or for both."""

    def __init__(self, dsn: str | None, payload_limit_bytes: int, enqueue_retry_s: float) -> None:
        if not 0 <= enqueue_retry_s < math.inf:
            raise UsageError(f"enqueue_retry_s must be a number of seconds and not negative, not {enqueue_retry_s!r}")
        self.dsn = dsn
        self.payload_limit_bytes = payload_limit_bytes
        self.enqueue_retry_s = enqueue_retry_s
        self._async_client: AsyncClient | None = None
        self._sync_client: SyncClient | None = None

    async def __aenter__(self) -> Self:
        """Open the pool for asynchronous enqueues."""
        dsn = await asyncio.to_thread(database.reachable, find_dsn(self.dsn))
        client = AsyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        await client.open()
        self._async_client = client
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Send what waits and close the pool."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    @asynccontextmanager
    async def serving(self, dsn: str) -> AsyncIterator[Self]:
        """Open the app inside a worker: the same database, connections only when a handler wants one."""
        clients = self._async_client, self._sync_client
        mine = AsyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s, warm=False)
        sync = SyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        self._async_client, self._sync_client = mine, sync
        try:
            yield self
        finally:
            self._async_client, self._sync_client = clients
            await mine.close()
            sync.close()

    def __enter__(self) -> Self:
        """Open the pool for synchronous enqueues."""
        dsn = database.reachable(find_dsn(self.dsn))
        client = SyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        client.open()
        self._sync_client = client
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the pool."""
        if self._sync_client is not None:
            self._sync_client.close()
            self._sync_client = None

    @property
    def client(self) -> AsyncClient:
        """The open asynchronous client.

        Raises:
            NotOpen: the app is not open.

        """
        if self._async_client is None:
            raise needs_open("an asynchronous call")
        return self._async_client

    @property
    def sync_client(self) -> SyncClient:
        """The open synchronous client.

        Raises:
            NotOpen: the app is not open.

        """
        if self._sync_client is None:
            raise needs_open("a synchronous call")
        return self._sync_client
