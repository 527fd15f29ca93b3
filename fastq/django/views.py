"""The dashboard as a view: for members of the staff, in Django's own process, under Django's own address."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from fastq.dashboard import Right, asgi
from fastq.django.bridge import Bridge
from fastq.django.databases import dsn_of


def of_staff(request: HttpRequest) -> Right | str:
    """Let members of the staff look and steer, and nobody else."""
    return Right.WRITE if request.user.is_active and request.user.is_staff else Right.NONE


def dashboard(
    *, using: str = DEFAULT_DB_ALIAS, rights: Callable[[HttpRequest], Right | str] = of_staff
) -> Callable[..., HttpResponseBase]:
    """Return the dashboard of a database as a view, for a route that ends with ``<path:page>``.

    Args:
        using: the alias of the database.
        rights: is given each request and says what it may do: ``"none"``, ``"read"`` or ``"write"``; members of the
            staff may do everything by default.

    Whoever may nothing is sent to the login. A request that changes something is refused where its browser says that it
    comes from another site, so that no token of Django's is needed in it.

    """

    @csrf_exempt
    def view(request: HttpRequest, page: str = "") -> HttpResponseBase:
        right = Right(rights(request))
        if right is Right.NONE:
            if request.user.is_authenticated:
                raise PermissionDenied
            return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)
        if page == "events" and not isinstance(request, ASGIRequest):
            return HttpResponse(
                status=204
            )  # a WSGI server has no thread to spare for each viewer: pages stay as they are
        answer = _bridge(using).answer(_scope(request, page, right), request.body)
        if answer.stream is None:
            response: HttpResponseBase = HttpResponse(answer.body, status=answer.status)
        else:
            response = StreamingHttpResponse(answer.stream, status=answer.status)
        for name, value in answer.headers:
            if name != "content-length":
                response[name] = value
        return response

    return view


@cache
def _bridge(using: str) -> Bridge:
    return Bridge(asgi(dsn_of(using), authorize=lambda request: request.scope["fastq.right"]))


class _Viewer:
    """Who looks, for the audit."""

    def __init__(self, user: Any) -> None:
        self.display_name = str(user) if user.is_authenticated else ""


def _scope(request: HttpRequest, page: str, right: Right) -> dict[str, Any]:
    """Return a request as ASGI has it, below the path that the view is mounted at."""
    path = request.path
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": path,
        "root_path": path.removesuffix(page).rstrip("/"),
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()
        ],
        "client": (request.META.get("REMOTE_ADDR") or "", 0),
        "server": (request.get_host().partition(":")[0], int(request.get_port())),
        "user": _Viewer(request.user),
        "fastq.right": right,
    }
