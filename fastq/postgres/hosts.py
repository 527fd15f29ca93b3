"""A DSN may name several hosts, of which one is the primary: which one to try first, which other may have become it.

The host that let somebody in last is tried first. Each has a short time for that, and only then all have a long one: a
host that is frozen takes connections, and says nothing. From then on the others are asked while that one is waited for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import psycopg

LOOK_S = 1.5
LATER_S = 5.0
"""So often at least somebody who waits for an answer asks whether another host is the primary now: who would wait for
ever asks less and less often."""

_QUICK_S = 2
_LISTS = ("host", "hostaddr", "port")
_STANDBYS = ("standby", "prefer-standby", "read-only")

_last: dict[tuple[str, ...], int] = {}
"""Which host let somebody in last, by the lists of hosts."""

_silent: dict[tuple[str, ...], int] = {}
"""Which of these has said nothing since, not even that it lets nobody in."""

Params = dict[str, Any]


class Hosts:
    """The hosts that connection parameters name."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        texts = {name: str(params[name]) for name in _LISTS if params.get(name)}
        lists = {name: text.split(",") for name, text in texts.items()}
        count = max((len(names) for name, names in lists.items() if name != "port"), default=1)
        self._key = tuple(texts.values())
        self._params = dict(params)
        self._lists = {name: names * count if len(names) == 1 else names for name, names in lists.items()}
        fits = all(len(names) == count for names in self._lists.values())  # else libpq says what is wrong
        self.places = range(count if fits else 1)

    @property
    def first(self) -> int:
        """The place of the one that let somebody in last."""
        return _last.get(self._key, 0)

    @property
    def silent(self) -> bool:
        """Whether the first one said nothing the last time that it was asked."""
        return _silent.get(self._key) == self.first

    def note_silence(self) -> None:
        """The first one, or more of them, did not say anything in a short time."""
        _silent[self._key] = self.first

    def in_turn(self, *, quickly: bool) -> Params:
        """Return the parameters to connect with, the most likely host first, or all of them in a short time."""
        if len(self.places) == 1:
            return self._params
        ordered = [*self.places[self.first :], *self.places[: self.first]]
        return self._of(ordered, **({"connect_timeout": _QUICK_S} if quickly else {}))

    def let_in(self, conn: psycopg.BaseConnection[Any]) -> int:
        """Note that one of the hosts let us in; return its place."""
        names, port = self._lists.get("host") or self._lists.get("hostaddr") or [], str(conn.info.port)
        for place, name in enumerate(names if len(self.places) > 1 else ()):
            if name == conn.info.host and self._lists.get("port", [port] * len(names))[place] == port:
                _last[self._key] = place
                _silent.pop(self._key, None)
                return place
        return self.first

    def but_first(self) -> Params:
        """Return the parameters to connect to any of the others with, in a short time."""
        return self._of([place for place in self.places if place != self.first], connect_timeout=_QUICK_S)

    def others(self, place: int) -> Params | None:
        """Return how to ask the hosts but one whether they are the primary; None where that is not the question."""
        if len(self.places) == 1 or self._params.get("target_session_attrs") in _STANDBYS:
            return None
        others = [other for other in self.places if other != place]
        return self._of(others, connect_timeout=_QUICK_S, target_session_attrs="read-write")

    def _of(self, places: list[int], **more: Any) -> Params:
        lists = {name: ",".join(names[place] for place in places) for name, names in self._lists.items()}
        return {**self._params, **lists, **more}


class Elsewhere:
    """Where else the primary may be by now, for one connection."""

    def __init__(self, hosts: Hosts, place: int, ask: Params) -> None:
        self._hosts = hosts
        self._place = place
        self.ask = ask

    @property
    def left(self) -> bool:
        """Whether another host has let somebody in since."""
        return self._hosts.first != self._place

    def found(self, conn: psycopg.BaseConnection[Any]) -> str:
        """Note that another host is the primary now; returns its name."""
        self._hosts.let_in(conn)
        return f"{conn.info.host}:{conn.info.port}"


def elsewhere(hosts: Hosts, conn: psycopg.BaseConnection[Any]) -> Elsewhere | None:
    """Return where else the primary of a new connection may be one day; None if the DSN names no other host."""
    place = hosts.let_in(conn)
    ask = hosts.others(place)
    return None if ask is None else Elsewhere(hosts, place, ask)


def pauses(patience_s: float) -> Iterator[float]:
    """Yield how long to wait before each look; a fleet does not look in one moment."""
    pause_s = LOOK_S
    while True:
        yield random.uniform(pause_s / 2, pause_s)  # noqa: S311
        if patience_s == inf:
            pause_s = min(1.2 * pause_s, LATER_S)
