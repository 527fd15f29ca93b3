"""Who may look and who may change something; nobody may by accident."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from starlette.requests import Request

COOKIE = "fastq_token"


class Right(StrEnum):
    """What a request may do."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


Authorize = Callable[[Request], Right | str | Awaitable[Right | str]]
"""Is given a request, and says what it may do."""


@dataclass(frozen=True, slots=True)
class Token:
    """Lets in whoever has the token: in a header, or in the cookie that a visit with `?token=…` sets."""

    value: str

    def __call__(self, request: Request) -> Right:
        """Tell what a request may do."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        shown = given if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        return Right.WRITE if self.is_it(shown) else Right.NONE

    def is_it(self, given: str) -> bool:
        """Tell whether that is the token; how long it takes says nothing about it."""
        return hmac.compare_digest(given.encode(), self.value.encode())


def everybody(_: Request) -> Right:
    """Let everybody do everything: only for a server that listens on this host alone."""
    return Right.WRITE


def is_cross_site(request: Request) -> bool:
    """Tell whether another site may have made somebody's browser send this.

    Browsers say where a request comes from: Sec-Fetch-Site, or Origin before that. What says neither is no browser.
    """
    if (site := request.headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    if (origin := request.headers.get("origin")) is not None:
        return urlsplit(origin).netloc != request.headers.get("host")
    return False
