"""The ASGI application: routes, rights, templates, and the stream that keeps pages fresh."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fastq import __version__
from fastq.config import Dsn, find_dsn
from fastq.dashboard import actions, pages
from fastq.dashboard.actions import ACTIONS, Done, Form
from fastq.dashboard.asker import Asker
from fastq.dashboard.masses import Mass, Masses
from fastq.dashboard.rights import COOKIE, Authorize, Right, Token, everybody, is_cross_site
from fastq.errors import DatabaseUnreachable, FastqError
from fastq.insights.words import number, short, span
from fastq.postgres import database
from fastq.protocol import audit
from fastq.protocol.jobs import Counted, JobFilter

HERE = Path(__file__).parent
EVERY_S = 2.5
"""So often at most a page that somebody looks at is made anew; once for all who look at the same."""

_CHOSEN_MOST = 1000
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


def asgi(
    dsn: str | None = None,
    *,
    authorize: Authorize | None = None,
    token: str | None = None,
    read_only: bool = False,
    redact: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> Starlette:
    """Return the dashboard as an ASGI application.

    Args:
        dsn: the database; by default that of FASTQ_DSN and so on.
        authorize: is given each request (`starlette.requests.Request`) and says what it may do: ``"none"``, ``"read"``
            or ``"write"``; it may be a coroutine function. Without it and without a token everybody may do everything:
            then whoever mounts it has to see to it that nobody else reaches it.
        token: let in whoever shows this token: as a bearer, or once as ``?token=…``, which sets a cookie.
        read_only: nobody may change anything.
        redact: names of arguments that are not shown.
        hosts: answer only to these names of this server. Without a token this keeps out the page of another site whose
            name has been made to lead here.

    """
    if authorize is None:
        authorize = Token(token) if token else everybody
    site = _Site(find_dsn(dsn), authorize, read_only=read_only, redact=redact, hosts=hosts)
    return Starlette(
        lifespan=site.lifespan,
        routes=[
            *(Route(path, site.page, methods=["GET"]) for path in pages.PAGES),
            *(Route(path, site.act, methods=["POST"]) for path in ACTIONS),
            Route("/all", site.act_on_all, methods=["GET", "POST"]),
            Route("/events", site.events, methods=["GET"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
    )


class _Site:
    """What the routes do."""

    def __init__(
        self, dsn: Dsn, authorize: Authorize, *, read_only: bool, redact: Sequence[str], hosts: Sequence[str]
    ) -> None:
        self._authorize = authorize
        self._hosts = frozenset(hosts)
        self._read_only = read_only
        self._redact = ",".join(redact)
        self._asker = Asker(partial(database.reachable, dsn))
        self._masses = Masses()
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"ago": ago, "short": short, "moment": moment, "span": span}

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Close the connections at the end. Where it is mounted nobody calls this, and they close by themselves."""
        yield
        self._asker.close()

    # -- rights

    async def _right(self, request: Request) -> Right:
        said = self._authorize(request)
        right = Right(await said if inspect.isawaitable(said) else said)
        return Right.READ if right is Right.WRITE and self._read_only else right

    async def _refused(self, request: Request, *, write: bool = False) -> Response | None:
        """Return the answer to a request that may not do what it asks for."""
        if self._hosts and request.url.hostname not in self._hosts:
            return self._message(request, 421, "This server has no such name.")
        given = request.query_params.get("token")
        if given and isinstance(self._authorize, Token) and self._authorize.is_it(given):
            rest = [(name, value) for name, value in request.query_params.items() if name != "token"]
            answer = RedirectResponse(f"{request.url.path}?{urlencode(rest)}", 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=request.url.scheme == "https")
            return answer
        right = await self._right(request)
        if right is Right.NONE:
            return self._message(request, 401, "You may not see this: show the token, or sign in.")
        if write and right is not Right.WRITE:
            return self._message(request, 403, "You may look, and not change anything.")
        if write and is_cross_site(request):
            return self._message(request, 403, "This came from another site, and was not done.")
        return None

    # -- pages

    async def page(self, request: Request) -> Response:
        """Show a page."""
        if (refused := await self._refused(request)) is not None:
            return refused
        path, query = _path(request), dict(request.query_params)
        try:
            inner = await self._inner(request, path, query, await self._right(request))
        except pages.NotThere as exc:
            return self._message(request, 404, str(exc))
        except FastqError as exc:
            return self._message(request, 503 if isinstance(exc, DatabaseUnreachable) else 500, str(exc))
        return self._whole(request, pages.PAGES[path].title, inner, path=path, query=query)

    async def _inner(self, request: Request, path: str, query: Mapping[str, str], right: Right) -> str:
        """Return the part of a page that changes."""
        page = pages.PAGES[path]
        asked = {**query, "redact": self._redact}
        key = (path, tuple(sorted(asked.items())))
        shown = await self._asker.shared(key, partial(_show, page.show, asked), statements=page.statements)
        return self._templates.get_template(page.template).render(
            **shown, base=_base(request), may_write=right is Right.WRITE, query=query, masses=list(self._masses.last)
        )

    def _whole(
        self, request: Request, title: str, inner: str, *, path: str = "", query: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        live = path in pages.PAGES and pages.PAGES[path].live
        text = self._templates.get_template("base.html").render(
            title=title,
            inner=inner,
            base=_base(request),
            menu=[(each, pages.PAGES[each].title, pages.PAGES[each].key) for each in pages.MENU],
            path=path,
            said=(query or {}).get("said", ""),
            events=f"{_base(request)}/events?" + urlencode({"page": f"{path}?{urlencode(query or {})}"})
            if live
            else "",
            version=__version__,
        )
        return HTMLResponse(text, headers=_HEADERS)

    def _message(self, request: Request, status: int, text: str) -> HTMLResponse:
        inner = self._templates.get_template("message.html").render(text=text, base=_base(request))
        answer = self._whole(request, "fastq", inner)
        answer.status_code = status
        return answer

    # -- what is fresh

    async def events(self, request: Request) -> Response:
        """Send a page's changing part whenever it has changed, until the viewer leaves."""
        if (refused := await self._refused(request)) is not None:
            return refused
        wanted = urlsplit(request.query_params.get("page", "/"))
        if wanted.path not in pages.PAGES:
            return Response(status_code=404)
        right, query = await self._right(request), dict(parse_qsl(wanted.query))
        stream = self._fresh(request, wanted.path, query, right)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)

    async def _fresh(self, request: Request, path: str, query: Mapping[str, str], right: Right) -> AsyncIterator[str]:
        before = ""
        while not await request.is_disconnected():
            try:
                inner = await self._inner(request, path, query, right)
            except FastqError as exc:
                inner = self._templates.get_template("message.html").render(text=str(exc), base=_base(request))
            if inner != before:
                yield "".join(f"data: {line}\n" for line in inner.splitlines()) + "\n"
                before = inner
            else:
                yield ": still here\n\n"
            await asyncio.sleep(max(EVERY_S, self._asker.fresh_s))

    # -- changes

    async def act(self, request: Request) -> Response:
        """Do what a form asks for, note it, and go back to where it came from."""
        if (refused := await self._refused(request, write=True)) is not None:
            return refused
        path, form = _path(request), await _form(request)
        try:
            done = await self._asker.ask(partial(_do, ACTIONS[path], form, _who(request)))
            said = done.action if done.jobs is None else f"{done.action}: {done.jobs:,}"
        except FastqError as exc:
            said = str(exc)
        self._asker.forget()
        values = {name: form.fields[name] for name in ("q", "state", "id", "name") if form.fields.get(name)}
        return RedirectResponse(f"{_base(request)}{path}?{urlencode({**values, 'said': said})}", 303)

    async def act_on_all(self, request: Request) -> Response:
        """Ask whether something is really to be done to all jobs that fit; then begin with it."""
        if (refused := await self._refused(request, write=True)) is not None:
            return refused
        form = Form(dict(request.query_params)) if request.method == "GET" else await _form(request)
        try:
            fit = actions.wanted(form.fields)
            some = actions.on_all(form, fit)
            meant = await self._asker.ask(partial(_meant, some, fit))
            if request.method == "GET":
                asked = {**form.fields, "redact": self._redact}
                seen = await self._asker.ask(partial(_show, pages.job_list, asked))
                inner = self._templates.get_template("sure.html").render(
                    **seen, meant=meant, base=_base(request), fields=form.fields
                )
                return self._whole(request, "Sure?", inner)
        except FastqError as exc:
            return self._message(request, 400, str(exc))
        fields = form.fields
        to = fields.get("to_queue") or fields.get("to_priority") or ""
        target = " ".join(filter(None, (fields.get("state"), fields.get("q"), to and f"→ {to}")))
        mass = Mass(fields["action"], target, _who(request), meant=0 if meant.more else meant.jobs)
        self._masses.start(mass, partial(self._asker.ask, partial(_some, some)), self._noted)
        return RedirectResponse(f"{_base(request)}/jobs?{urlencode({'said': f'{mass.action} has begun'})}", 303)

    async def _noted(self, mass: Mass) -> None:
        write = partial(_note, Done(f"all: {mass.action}", mass.target, mass.done), mass.who)
        await self._asker.ask(write)
        self._asker.forget()


def _show(show: pages.Show, query: Mapping[str, str], conn: Any) -> dict[str, Any]:
    return show(conn, query)


def _do(act: actions.Act, form: Form, who: str, conn: Any) -> Done:
    done = act(conn, form)
    _note(done, who, conn)
    return done


def _some(some: actions.Some, conn: Any) -> int:
    return actions.some_of(conn, some)


def _meant(some: actions.Some, fit: JobFilter, conn: Any) -> Counted:
    return actions.meant(conn, some, fit)


def _note(done: Done, who: str, conn: Any) -> None:
    audit.write(conn, who=who, action=done.action, target=done.target, jobs=done.jobs)


async def _form(request: Request) -> Form:
    """Return the fields of a form, and the jobs that were chosen in it."""
    given = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    ids = [job for name, value in given if name == "id" and (job := number(value)) is not None]
    return Form(dict(given), ids[:_CHOSEN_MOST])


def _who(request: Request) -> str:
    """Return who somebody is, for the audit: what the user's own authentication says, else the address."""
    user = request.scope.get("user")
    name = getattr(user, "display_name", "") or (request.client.host if request.client else "")
    return str(name or "somebody")[:200]


def _base(request: Request) -> str:
    """Return the path that the dashboard is mounted at, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _path(request: Request) -> str:
    """Return a page's path below the mount."""
    return request.url.path.removeprefix(_base(request)) or "/"


# -- how values are written


def ago(at: datetime | None) -> str:
    """Return how long ago a time is, or in how long it comes."""
    if at is None:
        return "-"
    seconds = (datetime.now(UTC) - at).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def moment(at: datetime | None) -> str:
    """Return a time in full, in UTC."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
