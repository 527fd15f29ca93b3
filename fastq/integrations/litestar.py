"""Litestar: a plugin that keeps the app open while it serves, and gives handlers what enqueues in their session.

api = Litestar([sign_up], plugins=[FastqPlugin(app)])

@post("/accounts")
async def sign_up(data: SignUp, jobs: NamedDependency[Enqueuer]) -> int: …
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import NamedDependency, Provide
from litestar.plugins import InitPlugin

from fastq.app import App
from fastq.integrations.requests import Enqueuer

__all__ = ["Enqueuer", "FastqPlugin"]


class FastqPlugin(InitPlugin):
    """Opens an app with Litestar's lifespan, and provides an `Enqueuer`.

    Args:
        app: the app of the tasks.
        dependency: the name that handlers ask for.
        session: the name of the dependency that gives the request's session or connection, such as ``"db_session"`` of
            Advanced Alchemy; without it jobs are enqueued at once.

    """

    def __init__(self, app: App, *, dependency: str = "jobs", session: str | None = None) -> None:
        self._app = app
        self._dependency = dependency
        self._session = session

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the lifespan and the dependency."""
        app_config.lifespan.append(self._lifespan)
        app_config.dependencies[self._dependency] = Provide(_provider(self._app, self._session), sync_to_thread=False)
        app_config.signature_namespace["Enqueuer"] = Enqueuer
        return app_config

    def _lifespan(self, _: Litestar) -> Any:
        return self._app


def _provider(app: App, session: str | None) -> Callable[..., Enqueuer]:
    """Return a provider whose one parameter is named as the dependency that it needs."""

    def provide(**given: Any) -> Enqueuer:
        return Enqueuer(app, given[session] if session is not None else None)

    kind = NamedDependency[Any]
    wanted = [] if session is None else [Parameter(session, Parameter.KEYWORD_ONLY, annotation=kind)]
    provide.__signature__ = Signature(wanted, return_annotation=Enqueuer)  # type: ignore[attr-defined]
    provide.__annotations__ = {parameter.name: kind for parameter in wanted} | {"return": Enqueuer}
    return provide
