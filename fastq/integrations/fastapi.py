"""FastAPI and Starlette: the app is open while they serve, and requests enqueue in their own sessions.

api = FastAPI(lifespan=lifespan(app))
Jobs = Annotated[Enqueuer, enqueuer(app, session)]

@api.post("/accounts")
async def sign_up(body: SignUp, session: Session, jobs: Jobs) -> int:
    …
    await jobs.enqueue(welcome.job(account_id=account.id))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ParamSpec

from fastapi import Depends

from fastq.app import App
from fastq.integrations import requests
from fastq.job import JobSpec
from fastq.postgres.connections import AnyAsyncConnection
from fastq.task import BoundTask, Task

__all__ = ["Enqueuer", "enqueuer", "lifespan"]

P = ParamSpec("P")
Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


class Enqueuer(requests.Enqueuer):
    """Enqueues in the transaction of a request; also, as `BackgroundTasks` does it, when its function has returned."""

    def __init__(self, app: App, conn: AnyAsyncConnection | None = None) -> None:
        super().__init__(app, conn)
        self._later: list[JobSpec] = []

    def add_task(self, task: Task[P, Any] | BoundTask[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Enqueue a job when the request's function has returned, not if it raises: it outlives this process."""
        self._later.append(task.job(*args, **kwargs))

    async def flush(self) -> None:
        """Enqueue what was added."""
        later, self._later = self._later, []
        if later:
            await self.enqueue_many(later)


def lifespan(*apps: App, inside: Lifespan | None = None) -> Lifespan:
    """Return a lifespan for FastAPI or Starlette in which the apps are open.

    Args:
        apps: what is opened before the first request and closed after the last.
        inside: a lifespan of yours, entered while they are open.

    """

    @asynccontextmanager
    async def opened(asgi: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        async with _all(apps):
            if inside is None:
                yield None
                return
            async with inside(asgi) as state:
                yield state

    return opened


@asynccontextmanager
async def _all(apps: tuple[App, ...]) -> AsyncIterator[None]:
    if not apps:
        yield
        return
    async with apps[0], _all(apps[1:]):
        yield


def enqueuer(app: App, session: Callable[..., Any] | None = None) -> Any:
    """Return a dependency that gives an `Enqueuer` for the request.

    Args:
        app: the app of the tasks.
        session: the dependency that gives the request's session or connection, of SQLAlchemy (on psycopg or asyncpg),
            psycopg or asyncpg; without it jobs are enqueued at once. It has to commit after the request's function has
            returned: a dependency with ``yield`` does so with ``Depends(session, scope="function")``.

    """
    if session is None:

        async def without() -> AsyncIterator[Enqueuer]:
            given = Enqueuer(app)
            yield given
            await given.flush()

        return Depends(without, scope="function")

    async def within(conn: Any = Depends(session, scope="function")) -> AsyncIterator[Enqueuer]:  # noqa: B008 - as FastAPI has it
        given = Enqueuer(app, conn)
        yield given
        await given.flush()

    return Depends(within, scope="function")
