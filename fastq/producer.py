"""What a task and a context need of the app they belong to; it keeps them from importing it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from fastq.config import KeptConfig
from fastq.job import JobRef, JobSpec

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from fastq.protocol.completion import Place


class Producer(Protocol):
    """The enqueueing side of an app, and how large what its handlers leave may be."""

    kept: KeptConfig

    async def enqueue(self, spec: JobSpec) -> JobRef:
        """Enqueue one job."""
        ...

    def enqueue_sync(self, spec: JobSpec) -> JobRef:
        """Enqueue one job from synchronous code."""
        ...

    async def reserve(self, spec: JobSpec, *, expires: float | timedelta) -> JobRef:
        """Reserve one job."""
        ...

    def reserve_sync(self, spec: JobSpec, *, expires: float | timedelta) -> JobRef:
        """Reserve one job from synchronous code."""
        ...

    def injectable(self, kind: object) -> bool:
        """Tell whether a parameter annotated with `kind` is injected."""
        ...

    def completing(self, place: Place) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Give a connection whose commit also completes the job that stands there."""
        ...

    async def tell_progress(self, place: Place, share: float, note: str) -> None:
        """Show how far a running job has come."""
        ...

    def tell_progress_sync(self, place: Place, share: float, note: str) -> None:
        """Show how far a running job has come, from synchronous code."""
        ...

    async def save_checkpoint(self, place: Place, value: str, retries: int | None) -> bool:
        """Keep a running job's checkpoint, as JSON, and the retries that it has from now on."""
        ...

    def save_checkpoint_sync(self, place: Place, value: str, retries: int | None) -> bool:
        """Keep a running job's checkpoint from synchronous code."""
        ...
